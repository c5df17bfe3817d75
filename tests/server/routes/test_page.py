import gzip

import pytest
from plotly.offline import get_plotlyjs_version


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


def test_what_is_not_there_is_404_with_a_sentence(site):
    """Any other path says that nothing is there."""
    answer = site.http.get("/nothing/here")
    assert (answer.status_code, answer.json()) == (404, {"detail": "there is nothing at '/nothing/here'"})


def test_plotly_comes_compressed_from_its_package(site):
    """Plotly is served from the wheel, gzipped for who takes that, and loaded once."""
    with site.http.stream("GET", "/vendor/plotly.min.js", headers={"Accept-Encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert len(packed) < 2 * 2**20
    plain = site.http.get("/vendor/plotly.min.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed) == plain.content
    assert get_plotlyjs_version() in plain.text[:1000]
    head = site.http.head("/vendor/plotly.min.js")
    assert (head.status_code, head.content) == (200, b"")
    again = site.http.get("/vendor/plotly.min.js", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
