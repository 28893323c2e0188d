"""`stcodec compare`."""

from __future__ import annotations

import os
from typing import Any

import click

from stcodec.commands.shared import (
    device_options,
    json_option,
    option,
    overwrite_options,
    policy,
    progress_option,
    quiet_option,
)
from stcodec.commands.types import FILE
from stcodec.errors import UsageError
from stcodec.options import CompareOptions
from stcodec.terminal import summaries
from stcodec.terminal.progress import ProgressReport
from stcodec.terminal.report import Reporter


@click.command()
@click.argument("reference", type=FILE, metavar="REF")
@click.argument("distorted", type=FILE, metavar="DIST")
@option(CompareOptions, "metrics", "--metrics")
@option(CompareOptions, "match", "--match", type=click.Choice(["auto", "time", "number"]))
@click.option(
    "--plot",
    "plot_path",
    type=FILE,
    metavar="FILE",
    help="Draw the scores over time: .png, .svg or .pdf.",
)
@device_options(CompareOptions)
@option(CompareOptions, "max_pixels", "--max-pixels", type=int)
@overwrite_options("Overwrite an existing plot.")
@progress_option
@quiet_option("Print the scores only.")
@json_option
def compare(
    reference: str,
    distorted: str,
    plot_path: str | None,
    overwrite: str | None,
    shown: str,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare the video DIST with REF, picture by picture: any media file, or a .stp file; "-" is
    YUV4MPEG2 or .stp on standard input.

    PSNR of each plane and weighted 6:1:1, SSIM and MS-SSIM of luma; VMAF and XPSNR where an ffmpeg
    with libvmaf and the filter xpsnr is found.
    """
    if reference == distorted == "-":
        raise UsageError("only one of the videos can come from standard input")
    chosen, said = CompareOptions(**options), Reporter(as_json, quiet)
    from stcodec.common import plotting
    from stcodec.common.files import check_output
    from stcodec.flows import compare
    from stcodec.flows.compiling import tell_who_waits

    tell_who_waits(said.note)
    if plot_path is not None:
        plotting.check(plot_path)
        check_output(plot_path, policy(overwrite, plot_path))
    result = None
    with ProgressReport(f"comparing {os.path.basename(distorted)}", said, shown) as progress:
        for step in compare.compare_steps(reference, distorted, chosen):
            if isinstance(step, compare.Comparison):
                result = step
            else:
                progress.update(step)
    assert result is not None
    for line in result.notes:
        said.note(line)
    if plot_path is not None:
        compare.plot(result, plot_path)
    summaries.compared(said, result)
