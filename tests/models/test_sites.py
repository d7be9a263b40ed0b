import pytest

from microtome.base.errors import UserError
from microtome.models.sites import KINDS, WITHOUT_LAYER, Site, parse_site


@pytest.mark.parametrize("kind", sorted(set(KINDS) - WITHOUT_LAYER))
@pytest.mark.parametrize("layer", [0, 8, 31])
def test_a_name_and_its_site_are_inverse(kind: str, layer: int) -> None:
    site = Site(kind, layer)
    assert parse_site(str(site)) == site
    assert parse_site(site) is site
    assert str(site) == f"{kind}.{layer}"


def test_embed_has_no_layer() -> None:
    assert parse_site("embed") == Site("embed")
    assert str(Site("embed")) == "embed"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resid_pots.8", r"unknown kind 'resid_pots'. Did you mean 'resid_post'\?"),
        ("blocks.8.hook_resid_post", "unknown kind 'blocks'"),
        ("", "unknown kind ''"),
        ("resid_post", r"Expected a layer after 'resid_post', got none. Write 'resid_post.0'"),
        ("resid_post.last", "Expected a whole number as the layer of 'resid_post', got 'last'"),
        ("resid_post.1.5", "Expected a whole number as the layer of 'resid_post', got '1.5'"),
        ("resid_post.-1", "Expected a layer counted from 0, got -1"),
        ("embed.0", "Expected 'embed' without a layer, got 'embed.0'"),
    ],
)
def test_a_wrong_name_says_what_was_expected(name: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse_site(name)


def test_sites_sort_by_kind_then_layer() -> None:
    assert sorted([Site("v", 10), Site("v", 2), Site("q", 3)]) == [Site("q", 3), Site("v", 2), Site("v", 10)]
