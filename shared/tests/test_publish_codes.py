"""Failure codes are read from source text, so no test class and no import order can change the documentation."""

import ast
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_bulkhead import errors
from mcp_bulkhead.publish.codes import FailureCode, codes_in, said_of, sentence, tree_of, words

LIBRARY = '''
"""Why.

Failure        it was not done
├─ Refused     a rule said no       rule
└─ Later       try again            retry_after_s
   ├─ Busy  Asleep
"""
from typing import ClassVar


class Failure(Exception):
    code: ClassVar[str] = "failed"
    retryable: ClassVar[bool] = False


class Refused(Failure):
    code = "refused"


class Later(Failure):
    """Not now."""

    code = "later"
    retryable = True


class Busy(Later):
    code = "busy"


class Asleep(Later):
    code = "asleep"


class Unrelated(Exception):
    code = "unrelated"


def refuse(reason, what):
    if reason == "wall":
        raise Refused("There is a wall.", code="wall", hint="walk around it")
    if reason == "moat":
        raise Refused("There is a moat.", code="wall", hint="swim")
    if reason == "odd":
        raise Refused("Odd.", code=f"odd_{reason}")
    if reason == "again":
        raise Refused(f"Not {what} twice.", code="twice", retryable=True, hint=f"Take {what} once.")
    if reason == "other":
        raise Unrelated("x", code="not_ours")
    raise Busy("Too many.", hint="Wait.")


def more():
    yield Busy("Far too many.", hint="Come back.")
    yield Busy("Too many.", hint="Come back.")
'''

SERVER = '''
from errors_of_the_library import Busy, Refused


class Fog(Busy):
    """Nobody can see.

    The rest is for engineers.
    """

    code = "fog"


def harbour():
    raise Fog(hint="Ask the lighthouse")
    raise Busy("No berth.", hint="Anchor outside.")
    raise Busy("No berth.", hint="Anchor outside.")
    raise Busy("No berth.", hint="Anchor outside.")
'''


@pytest.fixture
def codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, FailureCode]:
    (tmp_path / "codes_library.py").write_text(LIBRARY, encoding="utf-8")
    (tmp_path / "codes_server").mkdir()
    (tmp_path / "codes_server" / "__init__.py").write_text("raise SystemExit('nothing is imported')")
    (tmp_path / "codes_server" / "pier.py").write_text(SERVER, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return codes_in("codes_library", "codes_server")


def test_every_code_is_found_whether_a_class_or_a_call_has_it(codes: dict[str, FailureCode]):
    assert list(codes) == ["asleep", "busy", "failed", "fog", "later", "refused", "twice", "wall"]


def test_a_code_means_what_the_tree_its_docstring_or_its_message_says(codes: dict[str, FailureCode]):
    assert codes["refused"].meaning == "A rule said no."
    assert codes["fog"].meaning == "Nobody can see."
    assert codes["wall"].meaning == "There is a wall. Or: There is a moat."
    assert codes["twice"].meaning == "Not … twice."
    assert codes["busy"].meaning == "Too many. Or: Far too many."
    assert codes["asleep"].meaning == "Try again."  # nobody explains it: what is above it does


def test_the_hint_is_what_is_given_with_the_code(codes: dict[str, FailureCode]):
    assert codes["wall"].hint == "Walk around it. Or: Swim."
    assert codes["twice"].hint == "Take … once."
    assert codes["fog"].hint == "Ask the lighthouse."


def test_a_server_does_not_change_what_a_code_of_the_library_says(codes: dict[str, FailureCode]):
    assert (codes["busy"].hint, codes["busy"].package) == ("Wait. Or: Come back.", "codes_library")
    assert codes["fog"].package == "codes_server"


def test_whether_to_try_again_is_inherited_and_can_be_said_otherwise(codes: dict[str, FailureCode]):
    again = {name for name, code in codes.items() if code.retryable}
    assert again == {"asleep", "busy", "fog", "later", "twice"}


def test_every_class_of_the_failure_tree_is_documented_with_a_meaning():
    found = codes_in("mcp_bulkhead")
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.Failure)]
    assert {each.code for each in classes} <= set(found)
    assert [name for name, code in found.items() if not code.meaning] == []


def test_a_package_that_is_not_there_is_named():
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        codes_in("no_such_package")


def test_a_line_that_lists_several_names_explains_none():
    drawn = dict(tree_of("Failure   it was not done\n├─ Later  not now\n   ├─ Busy  RateLimited  TimedOut"))
    assert drawn == {"Failure": "it was not done", "Later": "not now"}


def test_only_plain_text_is_quoted():
    def said(source: str) -> str:
        node = ast.parse(source).body[0]
        assert isinstance(node, ast.Expr)
        return words(node.value)

    assert said("f'a {b} c'") == "a … c"
    assert said("'a' 'b'") == "ab"
    assert said("b") == said("1") == ""


def test_a_sentence_keeps_the_name_that_it_begins_with():
    assert sentence("walk on") == "Walk on."
    assert sentence("tools/list names them") == "tools/list names them."


@given(st.text())
def test_a_sentence_stays_one(text: str):
    assert sentence(sentence(text)) == sentence(text)
    assert "\n" not in sentence(text)


@given(st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"])))
def test_of_many_texts_the_most_common_speaks_and_of_few_all(texts: list[str]):
    distinct = dict.fromkeys(filter(None, texts))
    if len(distinct) <= 3:
        assert said_of(texts) == " Or: ".join(distinct)
    else:
        assert texts.count(said_of(texts)) == max(texts.count(text) for text in distinct)
