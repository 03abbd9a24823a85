"""Windows: every folder on the way is held open without sharing deletion, so none can be renamed or swapped meanwhile.

Reparse points (links, junctions, mount points, cloud placeholders) are refused, not followed, and the final path that
the system gives for the last handle must lie below the root's own final path; short 8.3 names and the case of letters
are settled there. Strings that a caller sent are never compared.

Not verified: no run of ours has executed this module on Windows. Its name and path rules (`windows_names`) are tested
everywhere.
"""

import sys

if sys.platform == "win32":
    import ctypes
    import errno
    import msvcrt
    import os
    from collections.abc import Iterator
    from contextlib import ExitStack
    from ctypes import wintypes
    from pathlib import Path

    from .deny import DenyRules
    from .entries import Entry, Kind
    from .opened import OpenedDir, OpenedFile, check_allowed, check_regular
    from .path_failures import failure_from
    from .path_input import check_name
    from .windows_names import below, windows_parts

    # A handle that asks for attributes only takes no part in sharing checks, and would pin nothing.
    FILE_LIST_DIRECTORY = 0x1
    GENERIC_READ = 0x8000_0000
    SHARE_READ_WRITE = 0x1 | 0x2
    OPEN_EXISTING = 3
    BACKUP_SEMANTICS = 0x0200_0000
    OPEN_REPARSE_POINT = 0x0020_0000
    ATTRIBUTE_DIRECTORY = 0x10
    ATTRIBUTE_REPARSE_POINT = 0x400
    FILE_TYPE_DISK = 1
    FILE_ATTRIBUTE_TAG_INFO = 9
    INVALID_HANDLE = ctypes.c_void_p(-1).value
    MAX_FINAL_PATH = 32_768

    class AttributeTag(ctypes.Structure):
        _fields_ = (("attributes", wintypes.DWORD), ("tag", wintypes.DWORD))

    class Handles:
        """The few calls of kernel32 that are needed, with their types."""

        def __init__(self) -> None:
            self._dll = ctypes.WinDLL("kernel32", use_last_error=True)
            self._dll.CreateFileW.restype = wintypes.HANDLE
            self._dll.CreateFileW.argtypes = (
                wintypes.LPCWSTR,
                wintypes.DWORD,
                wintypes.DWORD,
                wintypes.LPVOID,
                wintypes.DWORD,
                wintypes.DWORD,
                wintypes.HANDLE,
            )
            self._dll.GetFinalPathNameByHandleW.argtypes = (
                wintypes.HANDLE,
                wintypes.LPWSTR,
                wintypes.DWORD,
                wintypes.DWORD,
            )
            self._dll.GetFileInformationByHandleEx.argtypes = (
                wintypes.HANDLE,
                ctypes.c_int,
                wintypes.LPVOID,
                wintypes.DWORD,
            )
            self._dll.GetFileType.argtypes = (wintypes.HANDLE,)
            self._dll.CloseHandle.argtypes = (wintypes.HANDLE,)

        def open(self, path: str, access: int) -> int:
            flags = BACKUP_SEMANTICS | OPEN_REPARSE_POINT
            handle = self._dll.CreateFileW(path, access, SHARE_READ_WRITE, None, OPEN_EXISTING, flags, None)
            if handle in (None, INVALID_HANDLE):
                raise ctypes.WinError(ctypes.get_last_error())
            return int(handle)

        def attributes(self, handle: int) -> int:
            info = AttributeTag()
            size = ctypes.sizeof(info)
            if not self._dll.GetFileInformationByHandleEx(handle, FILE_ATTRIBUTE_TAG_INFO, ctypes.byref(info), size):
                raise ctypes.WinError(ctypes.get_last_error())
            return int(info.attributes)

        def final_path(self, handle: int) -> str:
            text = ctypes.create_unicode_buffer(MAX_FINAL_PATH)
            length = self._dll.GetFinalPathNameByHandleW(handle, text, MAX_FINAL_PATH, 0)
            if not 0 < length < MAX_FINAL_PATH:
                raise ctypes.WinError(ctypes.get_last_error())
            return text.value

        def is_disk(self, handle: int) -> bool:
            return self._dll.GetFileType(handle) == FILE_TYPE_DISK

        def close(self, handle: int) -> None:
            self._dll.CloseHandle(handle)

    class WindowsFile(OpenedFile):
        """There is no pread here; a file object belongs to one call, so moving its position disturbs nobody."""

        __slots__ = ()

        def pread(self, n: int, offset: int) -> bytes:
            os.lseek(self.fd, offset, os.SEEK_SET)
            return os.read(self.fd, n)

    class WindowsDir(OpenedDir):
        """A folder held by its handles. Its final path cannot change meanwhile, so it may be listed by path."""

        __slots__ = ("_final", "_held", "_opener")

        def __init__(self, opener: "WindowsHandles", rel: str, final: str, held: ExitStack) -> None:
            super().__init__(-1, rel, opener.rules)
            self._opener = opener
            self._final = final
            self._held = held

        def close(self) -> None:
            self._held.close()

        def entries(self) -> Iterator[Entry]:
            is_denied = self.deny_test()
            try:
                with os.scandir(self._final) as items:
                    for item in items:
                        yield Entry.of(item.name, item.stat(follow_symlinks=False), denied=is_denied(item.name))
            except OSError as error:
                raise failure_from(error) from error

        def names(self) -> Iterator[tuple[str, Kind]]:
            try:
                with os.scandir(self._final) as items:
                    for item in items:
                        # Free of charge here: the listing itself brings the attributes.
                        if item.stat(follow_symlinks=False).st_file_attributes & ATTRIBUTE_REPARSE_POINT:
                            yield item.name, Kind.LINK
                        else:
                            yield item.name, Kind.DIR if item.is_dir(follow_symlinks=False) else Kind.FILE
            except OSError as error:
                raise failure_from(error) from error

        def child_dir(self, name: str) -> OpenedDir:
            check_name(name)
            try:
                return self._opener.open_dir(self._below(name))
            except OSError as error:
                raise failure_from(error) from error

        def child_file(self, name: str) -> OpenedFile:
            check_name(name)
            try:
                return self._opener.open_file(self._below(name))
            except OSError as error:
                raise failure_from(error) from error

    class WindowsHandles:
        """Opens paths below one root."""

        method = "handles"

        def __init__(self, path: str, rules: DenyRules) -> None:
            self.rules = rules
            self._handles = Handles()
            # Held for the life of the server: the root can then not be renamed or removed.
            self._root = self._handles.open(path, FILE_LIST_DIRECTORY)
            self._final = self._handles.final_path(self._root)

        def open_file(self, path: str) -> OpenedFile:
            with ExitStack() as held:
                handle, rel = self._reach(path, GENERIC_READ, held)
                if self._handles.attributes(handle) & ATTRIBUTE_DIRECTORY or not self._handles.is_disk(handle):
                    raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
                # The first handle pins the file, so its path still names it.
                copy = self._handles.open(self._handles.final_path(handle), GENERIC_READ)
                fd = msvcrt.open_osfhandle(copy, os.O_RDONLY | os.O_BINARY)
                try:
                    st = os.fstat(fd)
                    check_regular(st, rel, self.rules)
                except BaseException:
                    os.close(fd)
                    raise
                return WindowsFile(fd, rel, st)

        def open_dir(self, path: str) -> OpenedDir:
            with ExitStack() as held:
                handle, rel = self._reach(path, FILE_LIST_DIRECTORY, held)
                if not self._handles.attributes(handle) & ATTRIBUTE_DIRECTORY:
                    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                check_allowed(rel, self.rules)
                return WindowsDir(self, rel, self._handles.final_path(handle), held.pop_all())

        def stat(self, path: str, *, follow: bool) -> tuple[os.stat_result, str]:
            with ExitStack() as held:
                handle, rel = self._reach(path, FILE_LIST_DIRECTORY, held)
                return Path(self._handles.final_path(handle)).stat(follow_symlinks=follow), rel

        def close(self) -> None:
            root, self._root = self._root, 0
            if root:
                self._handles.close(root)

        def _reach(self, path: str, access: int, held: ExitStack) -> tuple[int, str]:
            """Open each part of the path; all handles stay open until `held` is left."""
            parts = windows_parts(path)
            handle = self._root
            for place, part in enumerate(parts):
                wanted = access if place == len(parts) - 1 else FILE_LIST_DIRECTORY
                handle = self._handles.open(f"{self._handles.final_path(handle)}\\{part}", wanted)
                held.callback(self._handles.close, handle)
                if self._handles.attributes(handle) & ATTRIBUTE_REPARSE_POINT:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            return handle, below(self._final, self._handles.final_path(handle))
