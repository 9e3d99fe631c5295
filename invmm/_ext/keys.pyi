from typing import NoReturn, final

@final
class KeyBuffer:
    def __reduce__(self) -> NoReturn: ...
