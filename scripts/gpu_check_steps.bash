# The steps of gpu_check.sh that are more than one command, and what they are made of. Sourced by it; they read its
# variables: lapidary, device, together (the flags of ranks that share the device), ranks (how they are started), data
# (where configs/ is), work, figures.
# shellcheck shell=bash disable=SC2154

demo_captions=(caption --model "$data/configs/demo/model" --max-new-tokens 16 --quiet "$data/configs/demo/samples")

# same_captions NAME TP FLAG…: those of one rank, bit by bit where sums are in a fixed order.
solo() { "$lapidary" "${demo_captions[@]}" --device "$device" "$@" >"$work/solo.jsonl"; }
same_captions() {
  local tp=$1
  shift
  "${ranks[@]}" -np "$tp" "$lapidary" "${demo_captions[@]}" "${together[@]}" --tp "$tp" "$@" >"$work/tp.jsonl" || return 1
  cmp "$work/solo.jsonl" "$work/tp.jsonl"
}
# Without a fixed order of sums two of nearly equal logits may change places: nine captions in ten are to be equal.
like_captions() {
  same_captions "$@" >/dev/null && return 0
  local all equal
  all=$(wc -l <"$work/solo.jsonl")
  equal=$(comm -12 <(sort "$work/solo.jsonl") <(sort "$work/tp.jsonl") | wc -l)
  echo "$equal of $all captions are those of one rank"
  [ "$((10 * equal))" -ge "$((9 * all))" ]
}

# children PID: of this process alone.
children() { grep -l "^PPid:[[:space:]]*$1$" /proc/[0-9]*/status 2>/dev/null | cut -d/ -f3; }
# lost_rank SIGNAL: of two ranks one is killed or stopped in the middle of a job; seconds until nothing of it is left.
lost_rank() {
  local job begin deadline=5 all=() i
  "${ranks[@]}" -np 2 "$lapidary" caption --model "$data/configs/demo/model" "${together[@]}" --tp 2 --quiet --ignore-eos \
    --max-new-tokens 64 --max-model-len 512 --step-deadline "$deadline" --output "$work/lost-$1" "$work/pictures" &
  job=$!
  for ((i = 0; i < 300; ++i)); do
    sleep 0.2
    mapfile -t all < <(children "$job")
    [ -z "$(find "$work/lost-$1" -name '*.jsonl*' -size +0 2>/dev/null)" ] || break
    kill -0 "$job" 2>/dev/null || break
  done
  if [ ${#all[@]} -lt 2 ] || ! kill -0 "$job" 2>/dev/null; then
    wait "$job"
    echo "the job was over before a rank could be lost (${#all[@]} ranks seen)"
    return 77
  fi
  begin=$(date +%s%N)
  kill "-$1" "${all[1]}"
  for ((i = 0; i < 600; ++i)); do
    kill -0 "$job" "${all[@]}" 2>/dev/null || break # none of them is left
    sleep 0.1
  done
  local took=$((($(date +%s%N) - begin) / 1000000))
  kill -9 "$job" "${all[@]}" 2>/dev/null && echo "processes were left after $took ms" && return 1
  wait "$job" && echo "the job ended as if nothing had happened" && return 1
  note "a rank lost by SIG$1: all others have ended after" --value "$took" --unit ms --note "--step-deadline $deadline"
  [ "$took" -lt $((1000 * (deadline + 15))) ]
}

# says TEXT COMMAND…: it ends with 1 and one sentence that holds the text.
says() {
  local text=$1 code=0
  shift
  timeout 60 "$@" >"$work/said" 2>&1 </dev/null || code=$?
  if [ "$code" -ne 1 ] || [ "$(grep -c '^lapidary' "$work/said")" -ne 1 ] || ! grep '^lapidary' "$work/said" | grep -qF -- "$text"; then
    echo "exit code $code, not 1 and a sentence with '$text': $*"
    tail -5 "$work/said"
    return 1
  fi
  grep '^lapidary' "$work/said"
}
bad_input() {
  local trace=("$lapidary" caption --model "$data/configs/demo/model" "$data/configs/demo/samples" --quiet)
  if [ "$device" = cuda ]; then
    says "this host has" "${trace[@]}" --device cuda:99 || return 1
    says "not enough GPU memory" "$lapidary" bench model --model "$(config 28b 896)" --load-format dummy --device cuda --sequences 256 || return 1
    [ "$(nvidia-smi --list-gpus | wc -l)" -gt 1 ] ||
      says "--test-shared-gpu" "${ranks[@]}" -np 2 "${trace[@]}" --device cuda --tp 2 || return 1
  else
    says "--device is cuda" "${trace[@]}" --device cuda || return 1
    says "not enough memory" "${trace[@]}" --max-num-seqs 1000000 || return 1
  fi
  says "cpu, cuda, cuda:N or auto" "${trace[@]}" --device gpu
}

