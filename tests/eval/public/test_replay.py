"""What a replay says of itself, line by line."""

from rtx.eval.public.replay import Played, Replayed, lines


def replayed(task, index, *, native, through, refusals=0):
    for through_rtx, success in ((False, native), (True, through)):
        played = Played(success=success, steps=9, refusals=refusals)
        yield Replayed(task=task, index=index, through_rtx=through_rtx, played=played)


def test_a_line_for_each_task_as_soon_as_it_is_through_and_the_rates_of_all():
    told = lines(
        one
        for parts in (
            replayed("lift", 0, native=True, through=True, refusals=2),
            replayed("lift", 1, native=True, through=False),
            replayed("stack", 0, native=False, through=True, refusals=1),
        )
        for one in parts
    )
    assert [" ".join(line.split()) for line in told] == [
        "lift native 2/2 through rtx 1/2",
        "stack native 0/1 through rtx 1/1",
        "native: 67 % (2/3, 95 % interval 21..94)",
        "through rtx: 67 % (2/3, 95 % interval 21..94)",
        "actions that the safety filter changed: 3",  # of the episodes that went through it
    ]
