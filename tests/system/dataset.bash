# Sourced after support.bash: a dataset as people have them.

# make_dataset IMAGES: pictures in two folders that use the same names and in tars of up to 100, two in a hundred of them
# broken; the first tenth of the pictures twice, by a manifest of which each third has the same id; a
# name twice in each tar. Sets `dataset` to the
# inputs and `broken` to the number of broken pictures, and prints nothing.
make_dataset() {
  local images=$1 i source target shard=0 in_shard=0
  local pictures=("$models"/like28b/image0.png "$models"/window/image0.png "$models"/like3b/image0.png "$source_dir"/configs/demo/samples/*.jpg)
  local in_folders=$((images * 4 / 10)) in_manifest=$((images / 10))
  mkdir -p data/a/deep data/b/deep data/tars stage
  images=$((images - in_manifest))
  for ((i = 0; i < images; ++i)); do
    source=${pictures[$((i % ${#pictures[@]}))]}
    if ((i < in_folders)); then
      target=data/$([ $((i % 2)) = 0 ] && echo a || echo b)/$([ $((i % 4)) -lt 2 ] && echo deep/ || true)$(printf '%04d' $((i / 2))).png
    else
      target=stage/$(printf '%06d' "$i").png
    fi
    case $((i % 100)) in
      37) head -c 60 "$source" >"$target" ;;
      73) echo "no picture" >"$target" ;;
      *) cp "$source" "$target" ;;
    esac
    if ((i >= in_folders)); then
      in_shard=$((in_shard + 1))
      if ((in_shard == 100 || i == images - 1)); then
        # The last one has the first one's name.
        mkdir stage/last
        mv "$target" "stage/last/$(cd stage && ls | head -1)"
        tar -C stage --sort=name --exclude=last -cf "data/tars/$(printf '%05d' $shard).tar" .
        tar -C stage/last -rf "data/tars/$(printf '%05d' $shard).tar" .
        rm -r stage/*
        shard=$((shard + 1)) in_shard=0
      fi
    fi
  done
  broken=0
  for ((i = 0; i < images + in_manifest; ++i)); do
    case $((i < images ? i % 100 : (i - images) % 100)) in 37 | 73) broken=$((broken + 1)) ;; esac
  done
  for ((i = 0; i < in_manifest; ++i)); do
    echo "{\"image\": \"$([ $((i % 2)) = 0 ] && echo a || echo b)/$([ $((i % 4)) -lt 2 ] && echo deep/ || true)$(printf '%04d' $((i / 2))).png\", \"id\": \"id $((i % 3))\"}"
  done >data/list.jsonl
  dataset=(data/a data/b data/list.jsonl "data/tars/{00000..$(printf '%05d' $((shard - 1)))}.tar")
}

# records FOLDER FILE: all records of a job folder, sorted.
records() {
  cat "$1"/*.jsonl | LC_ALL=C sort >"$2"
}

# leftovers: processes that work on this test's folder.
leftovers() { pgrep -f -- "$work/" | grep -vx "$$" || true; }
