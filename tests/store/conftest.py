"""Lets the assertions of the contract suite explain themselves as those of a test file do."""

import pytest

pytest.register_assert_rewrite(
    "tests.store.contract", "tests.store.messages_contract", "tests.store.participant_contract"
)
