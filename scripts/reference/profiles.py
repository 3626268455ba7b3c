"""The checkpoint on which releases of transformers are told apart, and the releases of each profile."""

from reference.cases import Case, _text, _vision

# The square root of 56 is 7.483, and 7.469 in bfloat16: image rows of the old releases are 0.2 % smaller. The prefix
# (25 image tokens and the prompt) crosses the window, and the caps are small enough to bend every score and logit.
CASE = Case("profiles", 10, _text(56, 72, 4, 8, 4, 16, 16, sliding_window=24, attn_logit_softcapping=5.0,
                                 final_logit_softcapping=4.0),
            _vision(32, 48, 2, 4, 40, 8), ["describe en the scene on the beach"], [[(47, 33)]], layout="4x",
            stored="BF16", score_std=4.0, final_gain=1.5, new_tokens=24)

# Each profile's releases that are run; the tensors of the first are kept. In 4.54 a text that crosses the window
# ends in an error of its own cache, so it isn't run.
RELEASES = {
    "hf-4.47": ["4.47.1"],
    "hf-4.48": ["4.48.3", "4.51.3"],
    "hf-4.52": ["4.52.4"],
    "hf-4.53": ["4.53.3"],
    "hf-5.0": ["4.56.2", "4.57.6", "5.0.0", "5.3.0"],
    "hf-5.4": ["5.4.0", "5.10.2", "5.16.0", "5.20.0"],
    "hf-5.21": ["5.21.0", "5.22.0"],
    "hf": ["5.23.0", "5.24.0"],
}

# With `_attn_implementation_autoset` in text_config: up to 4.53 a release then leaves attention eager, which caps.
# Where it changes what is computed, these tensors are kept too.
AUTOSET = {
    "hf-4.48": dict(release="4.51.3", attn_cap=True),
    "hf-4.52": dict(release="4.52.4", attn_cap=True),
    "hf-4.53": dict(release="4.53.3", attn_cap=True),
    "hf-5.0": dict(release="4.56.2", attn_cap=False),
}
