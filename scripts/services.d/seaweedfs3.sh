# Three nodes of SeaweedFS, each a master and a volume server; every object lies on two of them (replication
# 001). The first node also has the filer and the S3 gateway, which is what clients talk to.
installed_seaweedfs3() { installed_seaweedfs; }
install_seaweedfs3() { install_seaweedfs; }

up_seaweedfs3() {
  fresh seaweedfs3; ports 16
  local n folder=$DATA/seaweedfs3 peers more
  seaweedfs_identities "$folder/s3.json"
  peers=127.0.0.1:${P[0]}.${P[1]},127.0.0.1:${P[4]}.${P[5]},127.0.0.1:${P[8]}.${P[9]}
  echo "${P[*]}" >"$RUN/seaweedfs3.ports"
  for n in 0 1 2; do
    mkdir "$folder/$n"
    more=()
    [ $n = 0 ] && more=(-filer -filer.port "${P[12]}" -filer.port.grpc "${P[13]}" -s3 -s3.port "${P[14]}" -s3.port.grpc "${P[15]}"
      -s3.ip.bind 127.0.0.1 -s3.config "$folder/s3.json" -s3.autoCreateBucket=false -s3.port.iceberg 0 -s3.port.lance 0)
    spawn "seaweedfs3-$n" "$(weed)" -logtostderr server -ip 127.0.0.1 -ip.bind 127.0.0.1 -dir "$folder/$n" \
      -master.telemetry=false -master.port "${P[n * 4]}" -master.port.grpc "${P[n * 4 + 1]}" -master.peers "$peers" \
      -master.defaultReplication 001 -master.volumeSizeLimitMB 256 \
      -volume.port "${P[n * 4 + 2]}" -volume.port.grpc "${P[n * 4 + 3]}" -volume.max 64 -volume.preStopSeconds 0 -volume.minFreeSpace 256MiB "${more[@]}"
  done
  await seaweedfs3-0 http_is 200 "http://127.0.0.1:${P[14]}/healthz"
  await seaweedfs3-0 s3_bucket "http://127.0.0.1:${P[14]}" "$ACCESS_KEY" "$SECRET_KEY"
  # All three volume servers have joined when an object can lie on two of them, whichever they are.
  await seaweedfs3-0 weed_joined 3 "${P[0]}"
  s3_exports seaweedfs3 "http://127.0.0.1:${P[14]}" "$ACCESS_KEY" "$SECRET_KEY"
  printf 'export SVC_SEAWEEDFS3_PIDS=%q\n' "$(pids_of seaweedfs3)" >>"$RUN/seaweedfs3.env"
}
weed_joined() { # COUNT MASTER-PORT
  [ "$(curl -s -m 3 -L "http://127.0.0.1:$2/dir/status" | grep -o '"PublicUrl"' | wc -l)" -ge "$1" ]
}
down_seaweedfs3() {
  local n
  for n in 0 1 2; do stop "seaweedfs3-$n" 1; done
  weed_sockets seaweedfs3
}
