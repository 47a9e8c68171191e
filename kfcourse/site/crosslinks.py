"""A Sphinx extension: links that nobody writes. In a chapter, a word's first use leads to the glossary, "chapter 05" to
chapter 05.
"""

import functools
import re

from docutils import nodes

GLOSSARY = "pages/glossary"
CHAPTER = r"[Cc]hapter (?P<number>\d{1,2})\b"
NO_LINKS_IN = (
    nodes.title,
    nodes.reference,
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.comment,
)


@functools.lru_cache(maxsize=1)  # the glossary is read once, not for every page
def entries(env):
    """{word in lower case: anchor in the glossary}: its headings of the lowest level, and the words in italics of a
    paragraph "Also: ...".
    """
    if GLOSSARY not in env.found_docs:
        return {}
    found = {}
    for section in env.get_doctree(GLOSSARY).findall(nodes.section):
        if next(section.findall(nodes.section, include_self=False, descend=True), None) is not None:
            continue
        also = [p for p in section.findall(nodes.paragraph) if p.astext().startswith("Also:")]
        for word in [
            section.next_node(nodes.title).astext(),
            *(e.astext() for p in also for e in p.findall(nodes.emphasis)),
        ]:
            found[word.lower()] = section["ids"][0]
    return found


def pattern(words):
    """Matches a chapter's number or one of the words; a word in capitals is matched as it is, others in any case, with
    a plural's s.
    """
    longest = sorted(words, key=len, reverse=True)
    return re.compile("|".join([CHAPTER, *(rf"\b(?i:{re.escape(word)})s?\b" for word in longest)]))


def link(app, doctree, docname):
    if not docname.startswith("chapters/"):
        return
    words = entries(app.env)
    chapters = {name.removeprefix("chapters/")[:2]: name for name in app.env.found_docs if name.startswith("chapters/")}
    seen, find = set(), pattern(words)
    for text in list(doctree.findall(nodes.Text)):
        if any(isinstance(above, NO_LINKS_IN) for above in ancestors(text)):
            continue
        made, end = [], 0
        for match in find.finditer(text):
            target = where(match, words, chapters, seen, docname)
            if target:
                made += [nodes.Text(text[end : match.start()]), reference(app, docname, target, match[0])]
                end = match.end()
        if made:
            text.parent.replace(text, [*made, nodes.Text(text[end:])])


def ancestors(node):
    while node.parent is not None:
        node = node.parent
        yield node


def where(match, words, chapters, seen, docname):
    """(document, anchor) that a match leads to, or None: a chapter that is there and not this one, or a word not yet
    seen on the page.
    """
    if match["number"]:
        name = chapters.get(match["number"].zfill(2))
        return (name, "") if name and name != docname else None
    word = match[0].lower()
    anchor = words.get(word) or words.get(word.removesuffix("s"))
    if anchor in seen:
        return None
    seen.add(anchor)
    return GLOSSARY, anchor


def reference(app, docname, target, text):
    page, anchor = target
    uri = app.builder.get_relative_uri(docname, page) + (f"#{anchor}" if anchor else "")
    return nodes.reference("", text, internal=True, refuri=uri, classes=["glossary-link"] if anchor else [])


def setup(app):
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
