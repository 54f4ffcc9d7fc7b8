"""One round of Google's Python client: prints lines of client, case, operations, seconds, and seconds of processor time. `scripts/bench-gcs` runs it."""
import io, os, sys, time
from concurrent.futures import ThreadPoolExecutor

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

endpoint, bucket = sys.argv[1:3]
client = storage.Client(project="bench", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoint})
bucket = client.bucket(bucket)
count, times = int(os.environ.get("COUNT", 400)), int(os.environ.get("TIMES", 4))
small = os.urandom(8 * 1024)
if "DATA" in os.environ:
    with open(os.environ["DATA"], "rb") as file:
        large = file.read()
else:
    large = os.urandom(int(os.environ.get("LARGE_MIB", 64)) << 20)


class Unsized(io.RawIOBase):
    """A stream whose end nobody knows before it comes."""

    def __init__(self, data):
        self.data = io.BytesIO(data)

    def readable(self):
        return True

    def tell(self):
        return self.data.tell()

    def read(self, size=-1):
        return self.data.read(size)


def put(name, data):
    bucket.blob(f"bench/python/{name}").upload_from_string(data, checksum="crc32c")


def stream(name, data):
    bucket.blob(f"bench/python/{name}", chunk_size=8 << 20).upload_from_file(Unsized(data), checksum="crc32c")


class Sink:
    """A file that keeps nothing."""

    def write(self, data):
        return len(data)

    def flush(self):
        pass


def get(name):
    bucket.blob(f"bench/python/{name}").download_to_file(Sink(), checksum="crc32c")


def case(name, operations, work):
    if name not in os.environ.get("CASES", name).split(","):
        return
    started, used = time.perf_counter(), time.process_time()
    work()
    print("python", name, operations, f"{time.perf_counter() - started:.6f} {time.process_time() - used:.6f}", flush=True)


put("warm", small)
case("save-8K", count, lambda: [put(i, small) for i in range(count)])
case("load-8K", count, lambda: [get("warm") for _ in range(count)])
with ThreadPoolExecutor(16) as pool:
    case("save-8K-x16", count, lambda: list(pool.map(lambda i: put(i, small), range(count))))
case("save-large", times, lambda: [put("large", large) for _ in range(times)])
if "load-large" in os.environ.get("CASES", "load-large"):
    put("large", large)
case("load-large", times, lambda: [get("large") for _ in range(times)])
case("stream-large", times, lambda: [stream("stream", large) for _ in range(times)])
