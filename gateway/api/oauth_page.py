"""What an owner sees whose authorization cannot go on: they come by a browser, not by a client."""

from __future__ import annotations

from html import escape

from aiohttp import web

from gateway.api.language import Language, language_of
from schemas.errors import RequestError

BEGIN_AGAIN = "begin_again"
TITLES: dict[Language, str] = {
    "pt": "Autorização não concluída",
    "en": "Authorization not completed",
}
# By the code of the error; a provider's own words are never shown.
TEXTS: dict[str, dict[Language, str]] = {
    "state_expired": {
        "pt": "Este link venceu. Volte ao aplicativo e comece a autorização de novo.",
        "en": "This link has expired. Go back to the application and begin again.",
    },
    "state_used": {
        "pt": "Esta autorização já foi usada. Se algo ainda falta, comece de novo no aplicativo.",
        "en": "This authorization was used already. If something is missing, begin again in the"
        " application.",
    },
    "invalid_callback": {
        "pt": "A resposta da loja não pôde ser confirmada. Nada foi alterado.",
        "en": "The provider's answer could not be confirmed. Nothing was changed.",
    },
    BEGIN_AGAIN: {
        "pt": "Este link não é válido aqui. Volte ao aplicativo e comece a autorização de novo.",
        "en": "This link is not valid here. Go back to the application and begin again.",
    },
}
PAGE = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{title}</title>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{text}</p>
</main>
</body>
</html>
"""


def wants_page(request: web.Request) -> bool:
    """Whether a browser asks."""
    return "text/html" in request.headers.get("Accept", "")


def refusal_page(request: web.Request, error: RequestError) -> web.Response:
    """The page in place of an error's JSON, with its status."""
    language = language_of(request)
    text = TEXTS.get(error.code, TEXTS[BEGIN_AGAIN])[language]
    page = PAGE.format(
        lang="pt-BR" if language == "pt" else "en",
        title=escape(TITLES[language]),
        text=escape(text),
    )
    return web.Response(text=page, status=error.status, content_type="text/html", charset="utf-8")
