"""What every group of settings has in common."""

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A frozen group of settings that knows its keys; a key without a value counts as not given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_keys_without_value(cls, data: object) -> object:
        """Return the mapping without its known keys that have no value, so that their defaults hold."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}
