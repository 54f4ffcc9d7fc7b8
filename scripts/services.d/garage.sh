# Garage, a second real S3 server: one node (garage), or three with replication factor 3 (garage3). A build of
# about five minutes; GARAGE_BIN=/path/to/garage uses one that is there.
GARAGE_VERSION=2.5.0 # crates.io garage
GARAGE_KEY=GK0123456789abcdef01234567
GARAGE_SECRET=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef

garage() { echo "$BIN/garage-$GARAGE_VERSION/bin/garage"; }
installed_garage() { [ -x "$(garage)" ]; }
installed_garage3() { installed_garage; }
install_garage() {
  (
    flock 8 # garage and garage3 share it
    installed_garage && exit 0
    if [ -x "${GARAGE_BIN:-}" ]; then mkdir -p "$(dirname "$(garage)")"; ln -sf "$GARAGE_BIN" "$(garage)"; exit 0; fi
    need cargo "to build Garage"
    # Its speed does not matter here, that of its build does.
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0
    CARGO_TARGET_DIR=$DOWNLOADS/garage cargo install garage --version "$GARAGE_VERSION" --locked --root "$BIN/garage-$GARAGE_VERSION" \
      --no-default-features --features bundled-libs,sqlite || exit 1
    rm -rf "${DOWNLOADS:?}/garage"
  ) 8>"$SERVICES_DIR/.garage.lock"
}
install_garage3() { install_garage; }

garage_config() { # FOLDER FACTOR RPC-PORT S3-PORT ADMIN-PORT
  mkdir -p "$1"
  cat >"$1/garage.toml" <<TOML
metadata_dir = "$1/meta"
data_dir = "$1/data"
db_engine = "sqlite"
metadata_fsync = false
data_fsync = false
replication_factor = $2
rpc_bind_addr = "127.0.0.1:$3"
rpc_public_addr = "127.0.0.1:$3"
rpc_secret = "1799bccfd7411eddcf9ebd316bc1f5287ad12a68094e1c6ac6abde7e6feae1ec"
[s3_api]
s3_region = "$REGION"
api_bind_addr = "127.0.0.1:$4"
[admin]
api_bind_addr = "127.0.0.1:$5"
TOML
  chmod 600 "$1/garage.toml"
}
up_garage() {
  fresh garage; ports 3
  local config=$DATA/garage/garage.toml
  garage_config "$DATA/garage" 1 "${P[@]}"
  GARAGE_DEFAULT_ACCESS_KEY=$GARAGE_KEY GARAGE_DEFAULT_SECRET_KEY=$GARAGE_SECRET GARAGE_DEFAULT_BUCKET=$BUCKET \
    spawn garage "$(garage)" -c "$config" server --single-node --default-bucket
  await garage http_is 200 "http://127.0.0.1:${P[2]}/health"
  "$(garage)" -c "$config" key allow --create-bucket "$GARAGE_KEY" >"$RUN/garage.setup.log" 2>&1
  s3_exports garage "http://127.0.0.1:${P[1]}" "$GARAGE_KEY" "$GARAGE_SECRET"
}
down_garage() { stop garage; }

up_garage3() {
  fresh garage3; ports 9
  local n ids=() folder=$DATA/garage3
  for n in 0 1 2; do
    garage_config "$folder/$n" 3 "${P[@]:n*3:3}"
    spawn "garage3-$n" "$(garage)" -c "$folder/$n/garage.toml" server
  done
  for n in 0 1 2; do
    await "garage3-$n" "$(garage)" -c "$folder/$n/garage.toml" status
    ids+=("$("$(garage)" -c "$folder/$n/garage.toml" node id -q 2>/dev/null)")
  done
  local first=("$(garage)" -c "$folder/0/garage.toml")
  {
    for n in 1 2; do "${first[@]}" node connect "${ids[n]}"; done
    for n in 0 1 2; do "${first[@]}" layout assign -z "dc$n" -c 8G "${ids[n]%%@*}"; done
    "${first[@]}" layout apply --version 1
  } >"$RUN/garage3.setup.log" 2>&1
  await garage3-0 http_is 200 "http://127.0.0.1:${P[2]}/health"
  {
    "${first[@]}" key import --yes -n persist "$GARAGE_KEY" "$GARAGE_SECRET"
    "${first[@]}" key allow --create-bucket "$GARAGE_KEY"
    "${first[@]}" bucket create "$BUCKET"
    "${first[@]}" bucket allow --read --write --owner "$BUCKET" --key "$GARAGE_KEY"
  } >>"$RUN/garage3.setup.log" 2>&1 || die "garage3: its setup failed: $(tail -n 5 "$RUN/garage3.setup.log")"
  for n in 0 1 2; do await "garage3-$n" http_is 200 "http://127.0.0.1:${P[n * 3 + 2]}/health"; done
  s3_exports garage3 "http://127.0.0.1:${P[1]}" "$GARAGE_KEY" "$GARAGE_SECRET"
  printf 'export SVC_GARAGE3_ENDPOINTS=%q\nexport SVC_GARAGE3_PIDS=%q\n' \
    "http://127.0.0.1:${P[1]} http://127.0.0.1:${P[4]} http://127.0.0.1:${P[7]}" "$(pids_of garage3)" >>"$RUN/garage3.env"
}
down_garage3() { local n; for n in 0 1 2; do stop "garage3-$n"; done; }
