"""The limits: which lies a run folder cannot exclude, said in the documents as they are."""

UNSIGNED: tuple[str, ...] = (
    "The folder by itself is not signed: its files agree with each other, and that does not prove "
    "who made them, when, or on which machine. A folder that was made by hand from the documented "
    "formats, without any training, would agree with itself as well.",
    "So would steps, losses or outputs that were invented or taken from another run of the same "
    "rows, had everything been sealed again over them; and measurements by a Python, a package or "
    "a driver that was changed to lie, or by a process of m43 in which the checks themselves were "
    "replaced in memory.",
    "`python -m m43 seal --key` signs the finished folder. A reader who has the signer's public "
    "key can then exclude every change after the signature, the folder made again by somebody "
    "else included; that the signer trained the model is the signer's word all the same.",
)
