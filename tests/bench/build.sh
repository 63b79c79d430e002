# Sourced by the commands beside it: builds what they need, and leaves $bench and, unless a build of Portway was
# named, `--portway` among the arguments. Needs $here.
top=$(CDPATH='' cd -- "$here/../.." && pwd)
case " $* " in
*" --portway "* | *" --help "* | *" -h "*) ;;
*)
    cargo build --release --manifest-path "$top/Cargo.toml"
    set -- "$@" --portway "portway=${CARGO_TARGET_DIR:-$top/target}/release/portway"
    ;;
esac
cargo build --quiet --release --manifest-path "$here/Cargo.toml"
bench=${CARGO_TARGET_DIR:-$here/target}/release/portway-bench
