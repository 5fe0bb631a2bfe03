# SPDX-License-Identifier: Apache-2.0
"""Model answers as HTML. They are hostile: what leaves here cannot run, load or post."""

from __future__ import annotations

from functools import cache

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

from jobs.templatetags.figures import printable

# No images: the browser would fetch them. No ids, classes and styles: they could take
# the place of ours.
TAGS = {
    *("a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6"),
    *("hr", "li", "ol", "p", "pre", "s", "strong", "table", "tbody", "td", "th"),
    *("thead", "tr", "ul"),
}
ATTRIBUTES = {"a": {"href"}, "ol": {"start"}}


@cache
def _parser() -> MarkdownIt:
    """CommonMark and tables; HTML in the text stays text."""
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": 20})
    parser.enable(["table", "strikethrough"])
    # `![a](b)` is read as "!" and a link.
    parser.disable("image")
    return parser


def rendered(text: str) -> SafeString:
    """Markdown as HTML that is safe in a page; at most as long as our callers cut it."""
    html = _parser().render(printable(text))
    clean = nh3.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener noreferrer",
    )
    # nh3 has left nothing but the tags above.
    return mark_safe(clean)  # noqa: S308 - cleaned in the line above
