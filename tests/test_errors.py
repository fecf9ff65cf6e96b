"""An unknown name names its neighbours."""

from rtx.errors import unknown_name


def test_the_nearest_name_comes_first():
    message = str(unknown_name("data set", "brige_dataset", ["bridge_dataset", "sim_panda"]))
    assert message == "unknown data set 'brige_dataset'; did you mean 'bridge_dataset'? Choices: bridge_dataset, sim_panda"


def test_long_lists_are_cut_and_counted():
    message = str(unknown_name("robot", "zzz", [f"robot{i:02}" for i in range(30)]))
    assert message.endswith("robot19, ... (30 in all)")
    assert "did you mean" not in message
