"""Languages as people name them: `de`, `ger`, `deu`, `German` and `de-AT` are one."""

from __future__ import annotations

# ISO 639-1, and 639-2 (terminological code first, where there are two), and the English name.
_KNOWN = """
af afr afrikaans;ar ara arabic;be bel belarusian;bg bul bulgarian;bn ben bengali;bs bos bosnian;
ca cat catalan;cs ces cze czech;cy cym wel welsh;da dan danish;de deu ger german;
el ell gre greek;en eng english;es spa spanish;et est estonian;eu eus baq basque;
fa fas per persian;fi fin finnish;fr fra fre french;ga gle irish;gl glg galician;he heb hebrew;
hi hin hindi;hr hrv croatian;hu hun hungarian;hy hye arm armenian;id ind indonesian;
is isl ice icelandic;it ita italian;ja jpn japanese;ka kat geo georgian;ko kor korean;
la lat latin;lt lit lithuanian;lv lav latvian;mk mkd mac macedonian;ms msa may malay;
nl nld dut dutch;no nor norwegian;pl pol polish;pt por portuguese;ro ron rum romanian;
ru rus russian;sk slk slo slovak;sl slv slovenian;sq sqi alb albanian;sr srp serbian;
sv swe swedish;ta tam tamil;te tel telugu;th tha thai;tr tur turkish;uk ukr ukrainian;
ur urd urdu;vi vie vietnamese;zh zho chi chinese
"""
_CODES = {
    word: words[0]
    for line in _KNOWN.replace("\n", "").split(";")
    if (words := line.split())
    for word in words
}


def language_code(text: str) -> str:
    """One code for all names of a language; a name that is not known stands for itself."""
    main = text.strip().lower().replace("_", "-").split("-")[0]
    return _CODES.get(main, main)
