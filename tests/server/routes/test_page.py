import gzip
from urllib.parse import unquote

import pytest


@pytest.fixture(scope="module")
def site(serve_once):
    return serve_once()


def test_the_page_is_served(site):
    """The root is the page, its modules come as JavaScript, and nothing else of the machine is reachable."""
    page = site.http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "<title>" in page.text
    assert site.http.get("/main.js").headers["content-type"].startswith("text/javascript")
    for path in ("/../pyproject.toml", "/%2e%2e/pyproject.toml", "/..%2fpyproject.toml", "/lib/../../pyproject.toml"):
        assert site.http.get(path).status_code == 404


def test_a_file_that_has_not_changed_is_not_sent_again(site):
    """Every file has an ETag, and a browser that asks with it gets 304."""
    first = site.http.get("/main.js")
    again = site.http.get("/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/nothing/here", "/lib", "/lib/", f"/{'a' * 300}", "/a%00b", "/main.js/x"])
def test_what_is_not_there_is_404_with_a_sentence(site, path):
    """Any other path says that nothing is there: a folder, and a name that no file can have, too."""
    answer = site.http.get(path)
    assert (answer.status_code, answer.json()) == (404, {"detail": f"there is nothing at {unquote(path)!r}"})


@pytest.mark.parametrize("path", ["/", "/main.js", "/style.css", "/vendor/plotly.min.js"])
def test_files_come_compressed_for_who_takes_that(site, path):
    """A file is sent gzipped or as it is, whichever the browser takes, and neither form is sent twice."""
    with site.http.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as packed:
        body = b"".join(packed.iter_raw())
    plain = site.http.get(path, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-type"] == plain.headers["content-type"]
    assert {packed.headers["vary"], plain.headers["vary"]} == {"Accept-Encoding"}
    assert len(body) < len(plain.content)
    assert gzip.decompress(body) == plain.content
    head = site.http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for first in (packed, plain):
        again = site.http.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
