# moto, the second S3 server: Amazon's answers (KMS keys, storage classes, Glacier). It verifies no signature
# and no checksum.
MOTO_VERSION=5.2.5 # PyPI moto; what comes with it: moto-constraints.txt

installed_moto() { [ -e "$BIN/moto-$MOTO_VERSION/.ok" ]; }
install_moto() {
  local folder=$BIN/moto-$MOTO_VERSION
  rm -rf "$folder"; python3 -m venv "$folder" || return 1
  "$folder/bin/python" -m pip install -q --disable-pip-version-check --no-compile \
    --constraint "$here/services.d/moto-constraints.txt" "moto[s3]==$MOTO_VERSION" flask flask-cors || return 1
  touch "$folder/.ok"
}
up_moto() {
  ports 1
  spawn moto "$BIN/moto-$MOTO_VERSION/bin/python" "$here/services.d/moto_server.py" "${P[0]}"
  await moto http_is 200 "http://127.0.0.1:${P[0]}/moto-api/"
  await moto s3_bucket "http://127.0.0.1:${P[0]}" "$ACCESS_KEY" "$SECRET_KEY"
  s3_exports moto "http://127.0.0.1:${P[0]}" "$ACCESS_KEY" "$SECRET_KEY"
}
down_moto() { stop moto; }
