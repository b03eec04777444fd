import pytest
from benchmarks.programs import run


def test_a_program_gets_variables_besides_ours() -> None:
    """What it is found by stays."""
    run(["sh", "-c", 'test "$TOLD" = it && test -n "$PATH"'], {"TOLD": "it"}, 10)


def test_a_program_that_fails_is_told_with_its_own_words() -> None:
    """And with its code: some say nothing."""
    with pytest.raises(RuntimeError, match=r"^sh -c .* ended with 3: no such thing$"):
        run(["sh", "-c", "echo no such thing >&2; exit 3"], {}, 10)


def test_a_program_that_takes_too_long_is_ended() -> None:
    """Nothing waits for it."""
    with pytest.raises(RuntimeError, match=r"^sleep 60 takes more than 0.1 s$"):
        run(["sleep", "60"], {}, 0.1)
