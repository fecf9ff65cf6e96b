"""Checkpoints that are whole or are not checkpoints: Orbax holds the arrays, our manifest proves every byte.

    run/checkpoints/120/
        state/           Orbax: step, variables, ema, opt_state, rng as nested dictionaries
        contract.json    which robots, cameras, statistics
        model.json       family and config
        tokenizer.json   vocabulary
        data.json        position in the data and its fingerprint
        config.json      the resolved configuration
        code.json        versions, and the commit where rtx runs from its repository
        manifest.json    size and sha256 of all of the above, written last

A save is built in `.saving-120` and renamed when complete, a removal goes through `.removing-100`; so a kill at any
instant leaves either a whole checkpoint or a hidden leftover that the next save sweeps. A numbered folder that does not
match its manifest is therefore damage: it is passed over, named, and never deleted.

The instants of a save and of a restore, by the function one is in, and what a kill there leaves behind:

    before save        Saver.save, Save.start       what was there
    device to host     writing._copy_to_host        .saving-N; here, and only here, the training loop waits
    async write        Save._write                  .saving-N; from here on in the background (`rtx.train.saver`)
                       Save._merge                  .saving-N; process 0 joins what all wrote, side files
                       Save._hash                   .saving-N; each process its share of the files
    commit             Save._commit                 .saving-N with a manifest, or N: one rename (process 0)
    old-step removal   retention._remove            N, and older ones whole or as .removing-M (process 0)
    during restore     reading.restore              what was there: a restore writes nothing
      hashes           sound.verify
      arrays           reading._read_arrays
"""

from rtx.train.checkpoint.describe import info_text, verify_text
from rtx.train.checkpoint.reading import (
    Checkpoint,
    Restored,
    open_checkpoint,
    read_contract,
    read_side_files,
    read_tokenizer,
    restore,
)
from rtx.train.checkpoint.retention import sweep
from rtx.train.checkpoint.side import SideFiles
from rtx.train.checkpoint.sound import FORMAT, newest_sound, steps, verify
from rtx.train.checkpoint.writing import Save, copy_with_tokenizer, save

__all__ = [
    "FORMAT",
    "Checkpoint",
    "Restored",
    "Save",
    "SideFiles",
    "copy_with_tokenizer",
    "info_text",
    "newest_sound",
    "open_checkpoint",
    "read_contract",
    "read_side_files",
    "read_tokenizer",
    "restore",
    "save",
    "steps",
    "sweep",
    "verify",
    "verify_text",
]
