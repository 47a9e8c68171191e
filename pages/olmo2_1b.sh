#!/usr/bin/env bash
# The edit of OLMo-2-0425-1B from nothing to a table, one command a step: see pages/olmo2_1b.md.
# It has never been run on the real weights; its commands are tested on a small model of the same architecture.
# Every step goes on where it was, so the whole script may be killed and started again.
set -euo pipefail

MODEL=allenai/OLMo-2-0425-1B
REVISION=a1847dff35000b4271fa70afc5db10fd29fedbdf
COLLECTED="*.mlp.gate_proj,*.mlp.up_proj" # factors of all blocks, so that the sweep has a choice
LAYERS="model.layers.1[123].mlp.gate_proj,model.layers.1[123].mlp.up_proj" # a follow-up's choice, not the paper's
MASS=0.6 # the paper's for the 7B; it gives none for the 1B
ROWS=${ROWS:-40000} # windows of 512 tokens: the paper's 20 million tokens. Try ROWS=400 first
EXAM=${EXAM:-exam} # a folder with sequences.jsonl and text.jsonl: the page says where they come from
OUT=${OUT:-olmo2-1b}
TOKENS=$((512 * ROWS))

# 1. what it will take, from the configuration alone
kfac plan --model "$MODEL" --revision "$REVISION" --layers "$COLLECTED" --tokens "$TOKENS"

# 2. does the unedited model recite what it should?  If not, stop here: nothing below means anything
kfac evaluate --model "$MODEL" --revision "$REVISION" --sequences "$EXAM/sequences.jsonl" --text "$EXAM/text.jsonl" \
    --json "$OUT-before.json"

# 3. the factors
kfac collect --model "$MODEL" --revision "$REVISION" --layers "$COLLECTED" --corpus dolmino --rows "$ROWS" \
    --out "$OUT-factors"

# 4. which blocks, at which mass?  On every second window of the exam, so that the others stay unseen
awk 'NR % 2 == 1' "$EXAM/sequences.jsonl" > "$OUT-choose.jsonl"
awk 'NR % 2 == 0' "$EXAM/sequences.jsonl" > "$OUT-report.jsonl"
kfac sweep --model "$MODEL" --revision "$REVISION" --factors "$OUT-factors" --sequences "$OUT-choose.jsonl" \
    --text "$EXAM/text.jsonl" --masses 0.5,0.6,0.7,0.8 --json "$OUT-sweep.json"

# 5. the edited model, as a folder
kfac edit --model "$MODEL" --revision "$REVISION" --factors "$OUT-factors" --layers "$LAYERS" --mass "$MASS" \
    --out "$OUT-edited"

# 6. the table: K-FAC and every control at equal forgetting, on the windows that chose nothing
kfac reproduce --model "$MODEL" --revision "$REVISION" --factors "$OUT-factors" --layers "$LAYERS" --mass "$MASS" \
    --corpus dolmino --rows "$ROWS" --sequences "$OUT-report.jsonl" --text "$EXAM/text.jsonl" --json "$OUT.json"
