"""What `rtx serve` refuses before it loads anything; serving itself is tested in tests/serve."""

import pytest

from rtx.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "can be reached by other machines"),
        (["--max-batch", "0"], "--max-batch 0: expected 1 to 32"),
        (["--max-batch", "33"], "--max-batch 33"),
        (["--batch-wait-ms", "-1"], "a question can wait 0 to 1000 ms for others, got -1"),
        (["--token-file", "nowhere"], "no such token file: nowhere"),
        (["--cert", "cert.pem"], "TLS needs both --cert and --key"),
        (["--names", "nowhere.json"], "no such file: nowhere.json"),
        (["--host", "0.0.0.0", "--token-file", "TOKEN"], "no-such-run"),  # let in, and then there is nothing to serve
    ],
)
def test_what_is_refused_before_loading(arguments, said, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("RTX_TOKEN", raising=False)
    token = tmp_path / "token"
    token.write_text("a-long-enough-token\n")
    arguments = [str(token) if argument == "TOKEN" else argument for argument in arguments]
    with pytest.raises(SystemExit) as ended:
        main(["serve", "no-such-run", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_token_may_come_from_the_environment(capsys, monkeypatch):
    monkeypatch.setenv("RTX_TOKEN", "short")
    with pytest.raises(SystemExit):
        main(["serve", "no-such-run"])
    assert "RTX_TOKEN needs at least 16" in capsys.readouterr().err
