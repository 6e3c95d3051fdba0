"""The PostgreSQL that is measured, through psql."""
import subprocess
from urllib.parse import urlsplit

from machine import parent_of

SETTINGS = ["server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_level", "shared_buffers", "max_wal_size",
            "max_connections"]


class Database:
    def __init__(self, url):
        self.url = url

    def rows(self, text, quiet=False):
        out = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text, self.url], capture_output=True, text=True)
        if out.returncode and not quiet:
            raise SystemExit(f"{text}: {out.stderr.strip()}")
        return [line.split("|") for line in out.stdout.splitlines()]

    def another(self, name):
        """A new, empty database on the same server."""
        self.rows(f"DROP DATABASE IF EXISTS {name}")
        self.rows(f"CREATE DATABASE {name}")
        parts = urlsplit(self.url)
        return Database(f"{parts.scheme}://{parts.netloc}/{name}" + (f"?{parts.query}" if parts.query else ""))

    def settings(self):
        return {name: self.rows(f"SHOW {name}")[0][0] for name in SETTINGS}

    def server(self):
        """The server's process id: the parent of any of its processes. None if it runs on another machine."""
        for (pid,) in self.rows("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"):
            try:
                return parent_of(pid)
            except OSError:
                continue
        return None

    def checkpoint(self):
        """So that no measurement pays for the one before. It needs the role pg_checkpoint."""
        self.rows("CHECKPOINT", quiet=True)

    def wal(self):
        """Bytes that the server has written to its log so far."""
        return int(self.rows("SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0])

    def table(self, table):
        """The table with this name in any schema."""
        found = self.rows("SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                          f"WHERE c.relname = '{table}' AND c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg_%'")
        if len(found) != 1:
            raise SystemExit(f"the database has {len(found)} tables with the name {table}")
        return found[0][0]

    def count(self, table):
        return int(self.rows(f"SELECT count(*) FROM {self.table(table)}")[0][0])

    def has(self, ids):
        """How many tasks with these ids exist."""
        quoted = ",".join(f"'{it}'" for it in ids)
        return int(self.rows(f"SELECT count(*) FROM {self.table('tasks')} WHERE id IN ({quoted})")[0][0])
