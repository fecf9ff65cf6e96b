"""`rtx drive`: a robot follows a policy server, behind its guard. `rtx stop`: stops it from another terminal."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtx.cli.verbs import Verbs, cameras, verb
from rtx.errors import UserError, WorldError

if TYPE_CHECKING:
    from rtx.control.guard import Status
    from rtx.control.recording import Recording


def add_drive(verbs: Verbs) -> None:
    parser = verb(verbs, "drive", _drive, "drive a robot by a policy server, within limits, behind a guard of its own")
    parser.add_argument("url", metavar="URL", help="of `rtx serve`: ws://HOST:PORT or wss://HOST:PORT")
    parser.add_argument("--robot", required=True, metavar="R", help="a name of `rtx robots list`, or your my_robot.py")
    parser.add_argument("--driver", required=True, metavar="D", help="sim, ur:ADDRESS, xarm:ADDRESS, ... (docs/drivers.md)")
    parser.add_argument("--instruction", required=True, metavar="TEXT")
    parser.add_argument("--camera", action="append", default=[], metavar="ROLE=SOURCE", help="e.g. primary=v4l2:/dev/video0")
    parser.add_argument("--policy-robot", metavar="NAME", help="what the policy calls this robot (default: the robot's name)")
    parser.add_argument("--execution", default="prefetch", help="receding, ensemble or prefetch (default: %(default)s)")
    parser.add_argument("--replan", type=int, default=2, help="actions of each answer to execute (default: %(default)s)")
    parser.add_argument("--hz", type=float, help="the robot's rate, if not its file's; actions are resampled")
    parser.add_argument("--seconds", type=float, help="default: until Ctrl-C")
    parser.add_argument(
        "--stop-after", type=float, default=3.0, metavar="SECONDS",
        help="of silence: until then the robot holds and goes on by itself, then it waits to be armed (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument("--obey-terminate", action="store_true", help="end when the policy says that it is done")
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="refusals, what was seen and sent, a report")
    parser.add_argument("--record-gb", type=float, default=20.0, help="of pictures, at most (default: %(default)g)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="the server's token (or the variable RTX_TOKEN)")
    parser.add_argument(
        "--guard", choices=("process", "thread"), default="process", help="where it runs (default: %(default)s)"
    )
    parser.add_argument(
        "--limits-off", default="", metavar="SENTENCE", help="turns limits off; docs/safety.md has the sentence"
    )
    stop = verb(verbs, "stop", _stop, "stop a robot that `rtx drive --record FOLDER` drives, at once")
    stop.add_argument("folder", type=Path, metavar="FOLDER")
    film = verb(verbs, "film", _film, "make an MP4 of each episode that `rtx drive --record` or `rtx serve --record` kept")
    film.add_argument("folder", type=Path, metavar="FOLDER")


def _drive(args: argparse.Namespace) -> None:
    from rtx.control.asking import ServerAsker, promised
    from rtx.control.execution import make_executor
    from rtx.control.guard import GuardSettings
    from rtx.control.host import GuardSetup, start_guard
    from rtx.control.loop import DriveLog, drive, report_text, write_report
    from rtx.control.recording import Recording, contract_of
    from rtx.drivers.registry import open_driver
    from rtx.robots import catalogue
    from rtx.robots.adapter import Adapter
    from rtx.robots.limits import limits_of
    from rtx.serve.auth import read_token
    from rtx_client import Client

    if not args.record_gb > 0:
        raise UserError(f"--record-gb {args.record_gb:g}: expected more than 0")
    embodiment, token = catalogue.find(args.robot), read_token(args.token_file)
    if args.hz is not None:
        embodiment = dataclasses.replace(embodiment, control_hz=args.hz)
    name, hz = args.policy_robot or embodiment.name, embodiment.control_hz
    settings = GuardSettings(limits_off=args.limits_off, stop_after_s=args.stop_after)
    make_driver = functools.partial(open_driver, args.driver, embodiment, cameras=cameras(args.camera))
    make_driver()  # what is wrong with its name is said before a server is asked
    with _connected(Client, args.url, token, name) as client:
        layout, statistics = promised(client.hello, name)
        said = client.hello["robots"][name]
        if missing := [role for role in said["cameras"] if role not in embodiment.roles]:
            raise UserError(f"the policy looks at {', '.join(missing)}; {embodiment.name!r} has {', '.join(embodiment.roles)}")
        make_adapter = functools.partial(Adapter, embodiment, layout)
        adapter, executor = make_adapter(), make_executor(args.execution, space=layout.action, replan=args.replan)
        limits = limits_of(embodiment, statistics, layout=layout, data_hz=said["control_hz"])
        setup = GuardSetup(
            driver=make_driver, adapter=make_adapter, limits=limits, layout=layout, settings=settings,
            log=args.record and args.record / "guard.jsonl", e_stop=args.record and args.record / "e-stop",
        )  # fmt: skip
        print(f"limits: {limits.source}", file=sys.stderr)
        with start_guard(setup, place=args.guard) as robot:
            print(f"guard: process {robot.pid}; kill -USR1 {robot.pid} stops the robot", file=sys.stderr, flush=True)
            timeout_s = client.hello["chunk"] / said["control_hz"]
            asker = ServerAsker(
                client, adapter, robot=name, roles=said["cameras"], instruction=args.instruction, timeout_s=timeout_s,
                layout=layout, hz=hz,
            )  # fmt: skip
            recording = None
            if args.record:
                recording = Recording(
                    args.record, contract_of(client.hello, name, embodiment, layout, statistics), name,
                    instruction=args.instruction, max_bytes=int(args.record_gb * 1e9),
                    about={"policy": client.hello["policy"], "checkpoint": client.hello["checkpoint_fingerprint"]},
                )  # fmt: skip
            report = drive(
                robot, asker, executor, adapter, hz=hz, seconds=args.seconds, on_stopped=_ask_person,
                obey_terminate=args.obey_terminate,
                log=DriveLog(args.record, recording=recording),
            )  # fmt: skip
    print(report_text(report))
    if args.record and recording is not None:
        write_report(report, args.record)
        print(_kept(recording, args.record))


def _kept(recording: Recording, folder: Path) -> str:
    lost = f"; {recording.lost} steps are not in it: {recording.why}" if recording.lost else ""
    return f"recorded: {recording.data} (rtx film {folder}; rtx doctor ... --records {folder / 'records.py'}){lost}"


def _connected(client: Any, url: str, token: str | None, robot: str) -> Any:
    from rtx_client import PolicyError

    try:
        return client(url, token=token, robot=robot)
    except (ConnectionError, TimeoutError) as error:
        raise WorldError(f"no policy server at {url}: {error}; start one with `rtx serve CHECKPOINT`") from error
    except PolicyError as error:
        raise UserError(str(error)) from error
    except ValueError as error:
        raise UserError(f"{url!r} is no address of a policy server: {error}") from error


def _ask_person(status: Status) -> bool:
    """Whether to arm the robot again: a person at a terminal writes it out; where there is none, nobody may."""
    print(f"the robot was stopped: {status.reason}", file=sys.stderr, flush=True)
    if not sys.stdin.isatty():
        return False
    return input("write 'arm' to go on, anything else to end: ").strip() == "arm"


def _film(args: argparse.Namespace) -> None:
    from rtx.data import catalogue
    from rtx.doctor.recording import each_episode
    from rtx.eval.filmed import film

    records = args.folder / "records.py"
    if not records.is_file():
        raise UserError(f"{args.folder} is no recording of `rtx drive --record` or `rtx serve --record`: it has no records.py")
    for found in sorted(args.folder.glob("*/robot.json")):
        record = catalogue.find(found.parent.name, records)
        for number, episode in enumerate(each_episode(found.parent, record)):
            if episode.stamp_ns is None:
                raise WorldError(f"{found.parent} holds no times: it was not written by `rtx drive` or `rtx serve`")
            path = found.parent / f"episode_{number:05d}.mp4"
            title, hz = episode.instructions[0], episode.control_hz
            film(path, episode.picture, episode.encoded, stamps_ns=episode.stamp_ns, hz=hz, title=title)
            print(path, flush=True)


def _stop(args: argparse.Namespace) -> None:
    from rtx.control.host import stop_robot

    stop_robot(args.folder / "e-stop")
    print("asked the guard to stop")
