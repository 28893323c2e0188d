"""`stcodec compare`."""

from __future__ import annotations

import os
from typing import Any

import click

from stcodec.commands.shared import FILE, json_option, option, policy, progress_option
from stcodec.errors import UsageError
from stcodec.options import CompareOptions
from stcodec.terminal import report
from stcodec.terminal.progress import ProgressReport


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
@option(CompareOptions, "device", "--device")
@option(CompareOptions, "threads", "--threads", type=int)
@click.option(
    "-y", "-f", "--yes", "overwrite", flag_value="yes", help="Overwrite an existing plot."
)
@click.option("-n", "--no", "overwrite", flag_value="no", help="Never overwrite: exit with code 4.")
@progress_option
@click.option("--quiet", is_flag=True, help="Print the scores only.")
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

    PSNR of each plane and weighted 6:1:1, SSIM and MS-SSIM of luma, VMAF where an ffmpeg with
    libvmaf is found.
    """
    if reference == distorted == "-":
        raise UsageError("only one of the videos can come from standard input")
    chosen = CompareOptions(**options)
    from stcodec.common.files import check_output, temporary_output
    from stcodec.flows import compare

    if plot_path is not None:
        compare.check_plot(plot_path)
        check_output(plot_path, policy(overwrite, plot_path))
    result = None
    with ProgressReport(f"comparing {os.path.basename(distorted)}", quiet, shown) as progress:
        for step in compare.compare_steps(reference, distorted, chosen):
            if isinstance(step, compare.Comparison):
                result = step
            else:
                progress.update(step)
    assert result is not None
    for line in result.notes:
        report.note(line, quiet)
    if plot_path is not None:
        with temporary_output(plot_path) as temporary:
            compare.plot(result, temporary)
    report.compared(result, as_json)
