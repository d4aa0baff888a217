"""Who may look into a partition, own jobs and run them."""

import pytest

from gateway.config.models import Settings
from gateway.kernel.errors import GatewayError
from gateway.operations.principal import NotAllowed, known_account, principal_of
from gateway.operations.references import NotFound

LISTED = Settings.model_validate(
    {
        "default_partition": "P1",
        "accounts": {"ann": {"partitions": ["P1"], "companies": ["C1"]}, "ben": {}, "out": {"enabled": False}},
    }
)


def test_everybody_may_look_where_no_accounts_are_listed() -> None:
    assert principal_of(Settings(), "anybody").partition == "initial"
    assert principal_of(Settings(), "anybody", partition="P9").partition == "P9"


def test_an_account_with_partitions_looks_into_no_others() -> None:
    assert principal_of(LISTED, "ann").partition == "P1"
    assert principal_of(LISTED, "ben", partition="P2").partition == "P2"
    with pytest.raises(NotAllowed, match="the account ann has no access to the partition P2; it has: P1"):
        principal_of(LISTED, "ann", partition="P2")


@pytest.mark.parametrize(
    ("name", "partition", "company", "expected"),
    [
        ("ann", "P1", "C1", None),
        ("ben", "P7", "C7", None),
        ("an", "P1", "C1", "there is no account 'an'; did you mean 'ann'?"),
        ("zoe", "P1", "C1", "there is no account 'zoe'; known are ann, ben, out"),
        ("out", "P1", "C1", "the account out is switched off"),
        ("ann", "P2", "C1", "the account ann has no access to the partition P2"),
        ("ann", "P1", "C2", "the account ann has no access to the company C2"),
    ],
)
def test_an_account_must_be_listed_enabled_and_let_in(
    name: str, partition: str, company: str, expected: str | None
) -> None:
    said = None
    try:
        known_account(LISTED, name, partition=partition, company=company)
    except (NotFound, NotAllowed) as error:
        said = error.message
    assert said == expected


def test_where_no_accounts_are_listed_every_name_is_good() -> None:
    known_account(Settings(), "anybody", partition="P", company="C")


def test_with_mine_nobody_touches_what_belongs_to_others() -> None:
    mine = principal_of(LISTED, "ann", mine=True)
    mine.check_owner("the run 7", "ann")
    with pytest.raises(GatewayError, match="the run 7 belongs to ben"):
        mine.check_owner("the run 7", "ben")
    principal_of(LISTED, "ann").check_owner("the run 7", "ben")
