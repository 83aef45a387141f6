"""RocksDB as the session table uses it: small, bounded memory whatever the number of partitions (hazard F19)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import rocksdict

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What matters for a table of many small values read by key.

    Attributes:
        block_cache_bytes: One cache shared by all partitions of the process.
        write_buffer_bytes: One memtable; two a partition at most.
        bloom_bits: Bits a key; 10 gives about 1 % false positives (RocksDB's own figure).
        max_open_files: Table files kept open, a partition.
        max_log_files: RocksDB's own log files kept, a partition.
    """

    block_cache_bytes: int = 64 * _MIB
    write_buffer_bytes: int = 4 * _MIB
    bloom_bits: float = 10.0
    max_open_files: int = 64
    max_log_files: int = 2


class RocksDB:
    """Opens partitions that share one cache."""

    def __init__(self, options: StoreOptions) -> None:
        self._options = options
        self._cache = rocksdict.Cache(options.block_cache_bytes)

    def open(self, path: Path, *, read_only: bool = False) -> rocksdict.Rdict:
        """Open (or create) one partition's database; the caller closes it."""
        table = rocksdict.BlockBasedOptions()
        table.set_block_cache(self._cache)
        table.set_cache_index_and_filter_blocks(True)
        table.set_bloom_filter(self._options.bloom_bits, block_based=False)
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)  # noqa: FBT003
        options.set_block_based_table_factory(table)
        options.set_write_buffer_size(self._options.write_buffer_bytes)
        options.set_max_write_buffer_number(2)
        options.set_max_open_files(self._options.max_open_files)
        options.set_keep_log_file_num(self._options.max_log_files)
        options.set_compression_type(rocksdict.DBCompressionType.lz4())
        access = rocksdict.AccessType.read_only() if read_only else rocksdict.AccessType.read_write()
        path.parent.mkdir(parents=True, exist_ok=True)
        return rocksdict.Rdict(str(path), options=options, access_type=access)
