"""What a looping model runs into."""

from typing import Any

import pytest

from mcp_bulkhead.testing.answers import refusal_problems
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import ERAS

from .conftest import Fresh, Visit

ALL = ("--toolsets", "all")
NO_RATE = ("--rate-limit-per-minute", "0")
NO_REPEATS = ("--repeat-limit", "0")
MINUTE, HOUR = 60, 3_600


def repeat(visit: Visit, times: int) -> list[dict[str, Any]]:
    """The first good reading call, again and again."""
    name, arguments = visit.good_calls(reading=True)[0]
    return [visit.call(name, arguments) for _ in range(times)]


def error_of(answer: dict[str, Any]) -> dict[str, Any]:
    return answer["_meta"]["io.github.mcp-bulkhead/error"]


@requirement("LIMIT-1")
@pytest.mark.parametrize("era", ERAS)
def test_over_the_rate_limit_a_call_says_when_to_come_back(fresh: Fresh, era: str) -> None:
    *fine, over = repeat(fresh("memory", "--rate-limit-per-minute", "2", *NO_REPEATS, *ALL, era=era), 3)
    assert not any(answer.get("isError") for answer in fine)
    assert list(refusal_problems(over, "rate_limited")) == []
    assert error_of(over)["retryable"] is True
    assert 0 < error_of(over)["retry_after_s"] <= MINUTE


@requirement("LIMIT-2")
def test_the_third_identical_read_is_told_so_instead(fresh: Fresh) -> None:
    visit = fresh("memory", *NO_RATE, *ALL)
    first, second, third, fourth = repeat(visit, 4)
    assert not first.get("isError")
    assert not second.get("isError")
    assert list(refusal_problems(third, "unchanged_repeat")) == []
    assert list(refusal_problems(fourth, "unchanged_repeat")) == []


@requirement("LIMIT-2")
def test_another_call_in_between_makes_a_read_new(fresh: Fresh) -> None:
    visit = fresh("memory", *NO_RATE, *ALL)
    calls = visit.good_calls(reading=True)
    first, other = calls[0], next(call for call in calls if call != calls[0])
    answers = [visit.call(*call) for call in (first, first, other, first, first, other)]
    assert not any(answer.get("isError") for answer in answers)


@requirement("LIMIT-3")
def test_over_the_steps_of_a_session_a_call_is_refused_for_good(fresh: Fresh) -> None:
    # Listing the tools was the first step.
    *fine, over = repeat(fresh("memory", "--budget-steps-per-session", "3", *NO_RATE, *NO_REPEATS, *ALL), 3)
    assert not any(answer.get("isError") for answer in fine)
    assert list(refusal_problems(over, "budget_spent")) == []
    assert error_of(over)["retryable"] is False


@requirement("LIMIT-3")
def test_over_the_calls_of_an_hour_a_call_says_when_to_come_back(fresh: Fresh) -> None:
    *fine, over = repeat(fresh("memory", "--budget-calls-per-hour", "3", *NO_RATE, *NO_REPEATS, *ALL), 3)
    assert not any(answer.get("isError") for answer in fine)
    assert list(refusal_problems(over, "budget_spent")) == []
    assert 0 < error_of(over)["retry_after_s"] <= HOUR
