"""What a trial is: its settings, frozen and validated, and the signature that stands for them."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Self

from asc_sweeps.config.lineage import Lineage
from asc_sweeps.config.setting_groups import Settings
from asc_sweeps.config.trial_labels import Labels
from asc_sweeps.config.trial_settings import non_defaults

RECIPE = 1
"""To be raised when the code, or a default, changes what the same settings compute: earlier results are then not reused."""


class TrialConfig(Lineage, Labels):
    """A trial is its settings; equal settings are the same trial."""

    @functools.cached_property
    def signature(self) -> str:
        """Twelve hex digits that name the trial: a hash of `RECIPE` and the settings that differ from the defaults.

        A setting added later, whose default means "as before", therefore changes no signature.
        """
        identity = {"recipe": RECIPE, "settings": non_defaults(self)}
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def with_resolved_data(self, dataset: str, fingerprint: str, subset: str = "", responses: str = "") -> Self:
        """The same trial with names and content hashes of opened data in place of paths.

        `subset` and `responses` are the content of the list of `data.subset` and of the folder of impulse responses;
        each is ignored where the trial does not use it.
        """
        subset = subset if self.data.subset < 100 else ""
        responses = responses if self.augment.impulse_response_probability else ""
        changes: dict[str, Settings] = {
            "data": self.data.model_copy(
                update={"dataset": dataset, "fingerprint": fingerprint, "subset_content": subset}
            )
        }
        resolved = {"impulse_responses": "", "impulse_responses_content": responses}
        if any(getattr(self.augment, name) != value for name, value in resolved.items()):
            changes["augment"] = self.augment.model_copy(update=resolved)
        return self.model_copy(update=changes)
