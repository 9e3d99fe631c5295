from typing import Final

KIND_NAMES: Final[dict[int, str]]
KINDS_BY_NAME: Final[dict[str, int]]

class FrameRefused(Exception):
    kind: str
    def __init__(self, kind: str, message: str) -> None: ...
