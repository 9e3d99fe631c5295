"""Frames that the scanners do not take, by orjson."""

from invmm._ext.frame cimport scan_frame_t, scan_ids_t


cdef int parse_frame(scan_frame_t* frame, const scan_ids_t* ids, bytes raw) except -1
