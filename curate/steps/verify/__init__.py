"""Steps that check answers, tool calls and reasoning by rule, without a judge."""
