"""The file that `plano-asgi init` writes."""

from typing import Final

STARTING_FILE: Final = """\
# plano.yaml: where calls may go, and when. Check it with: plano-asgi validate
#
# Every setting can also be an environment variable, which wins over this file: PLANO_MODE=observe,
# PLANO_CLASSIFIER__DEVICE=cuda, PLANO_MODEL_PROVIDERS__0__ACCESS_KEY_FILE=/run/secrets/openai.
# A commented setting shows its default.

model_providers:
  - model: openai/gpt-4o-mini
    default: true                    # used when no route matches
    # access_key: $OPENAI_API_KEY    # this provider's variable is used anyway
    # base_url: https://api.openai.com/v1

  - model: openai/gpt-4o
    routing_preferences:
      - name: complex_reasoning
        description: complex reasoning tasks, multi-step analysis

  - model: anthropic/claude-sonnet-4-20250514
    routing_preferences:
      - name: code_generation
        description: generating new code, writing functions

# Preferences with several models; the first serves, the rest follow when it cannot.
# routing_preferences:
#   - name: summaries
#     description: summarising documents, meetings and threads
#     models: [openai/gpt-4o-mini, anthropic/claude-sonnet-4-20250514]

# Other names of models, wherever a model is named.
# model_aliases:
#   fast: {target: openai/gpt-4o-mini}

# experiments: []           # shares of sessions decided in another way: [{name: bold, share: 0.1, threshold: 0.3}]

# enabled: true              # false: everything passes untouched
# mode: rewrite              # observe (decide, log, change nothing), rewrite, forward
# startup: wait              # background: serve at once, by routing.on_error until the model is warm
# strict: false              # true: answer what cannot be read instead of passing it on
# endpoints: true            # false: no /routing/v1/* decision endpoints
# response_headers: true     # false hides models and routes from callers
# paths: [/v1/chat/completions, /v1/messages, /v1/responses]

# classifier:
#   kind: embedded           # embedded, arch_router, remote, cascade
#   cascade:                 # of cascade: when the embedded router is sure, and the second is not asked
#     low: 0.2               # sure of no route: all of them together have no more than this
#     high: 0.8              # sure of a route: it has no less than this
#   device: auto             # auto, cpu, cuda, cuda:N
#   threads:                 # as many as suit the classifier
#   model_path:              # the shipped model
#   base_url:                # of a remote classifier, e.g. http://localhost:8000/v1
#   access_key:              # of a remote classifier, e.g. $ROUTER_KEY
#   model:                   # its name on a remote classifier's server; Arch-Router
#   prompt_form: gateway     # gateway, card, instructions_first
#   decode: score            # of arch_router: score, generate
#   score: branch            # of arch_router: branch, joint
#   prefix_bytes: 268435456  # of arch_router: what is kept of prompts' beginnings
#   shared_weights: false    # of arch_router: true shares memory between worker processes, and is slower
#   deadline_ms:             # the classifier's own
#   queue: 256               # calls waiting; more are served by routing.on_error
#   calibration:             # the file that plano-asgi calibrate wrote, e.g. calibration.json

# routing:
#   threshold:               # least confidence in [0, 1]; the model's own
#   on_error: default        # default: the default model; reject: 503
#   unmatched: default       # requested: keep the client's model
#   applies_to: ["*"]        # models a client may name and still be routed, e.g. ["auto"]
#   inline: allow            # deny: no request brings its own policy
#   bypass_header: true      # false: `x-plano-routing: off` is not honoured
#   sample: 1.0              # share of calls that are rewritten; the rest are observed
#   model_form: bare         # qualified: anthropic/claude-... instead of claude-...
#   decide_on: user_turn     # every_call; session: the first decision holds
#   switch_budget_pct:       # most that switches of a session may cost, in percent of never switching
#   cross_format: false      # true: choose models of another API too; the app translates

# cache:
#   size: 10000              # decisions; 0: no cache
#   ttl_s: 300

# limits:
#   body_bytes: 10485760     # 10 MiB
#   body_timeout_s: 30

# forward:                   # of mode: forward
#   connect_s: 5
#   first_byte_s: 60         # until a stream begins
#   answer_s: 300            # until an answer that is not streamed is complete
#   stall_s: 60              # between two pieces of a stream
#   total_s: 600             # all attempts and the whole answer
#   max_connections: 1000    # to one server, in one process
#   http2: false
#   list_models: true        # GET /v1/models

# failover:                  # of mode: forward
#   attempts: 3              # of one call, over all its models
#   to_default: false        # true: the default model is asked last
#   backoff_s: 0.5
#   backoff_max_s: 8
#   breaker_failures: 5      # of a model's latest 10 answers
#   breaker_open_s: 10
#   key_rest_s: 60           # of a rejected key, where its provider has another

# translation:
#   strict: false            # true: pass over models that cannot be told all of a call

# guardrails:
#   calls: []                # of calls, in order: [{filter: pii}, {filter: injection}, {filter: size, messages: 100}]
#                            # with an extra each: {filter: languages, allow: [en]}, {filter: presidio}
#   answers: []              # of answers, in mode forward: [{filter: patterns, deny: ["project \\w{1,20} is secret"]}]
#   hold: none               # answer: a streamed answer is told once all of it is judged
#   hold_bytes: 1048576      # most bytes of an answer that is held for that
#   routes: {}               # more of them for the calls of one route: {code: {calls: [{filter: pii}]}}

# filters: []                # your own, for guardrails to name: [{id: mine, url: http://localhost:9000}]

# prices: {}                 # what models cost, USD for a million tokens: {openai/gpt-4o: {input: 2.5, output: 10}}

# model_metrics_sources: []  # where more of that is read, and how fast models are: [{type: cost, provider: models.dev}]

# responses_state:           # of mode: forward; what previous_response_id goes on from
#   store: memory            # none, memory, redis, postgres
#   ttl_s: 86400
#   size: 10000              # of memory: responses
#   total_bytes: 67108864    # of memory: all of them
#   conversation_bytes: 4194304

# ratelimits: []             # how much may be used: [{per: [api_key], limit: {tokens: 100000, unit: minute}}]

# budgets: []                # how much may be spent: [{per: [api_key], amount: 50, period: month}]

# allow_lists: []            # what callers may use: [{selector: {key: x-tenant, value: acme}, models: [openai/*]}]

# governance:
#   store: memory            # redis: counted over all worker processes
#   on_store_failure: fail_open  # without Redis each process counts by itself; fail_closed: calls are refused
#   output_tokens: 1024      # what an answer is thought to take whose call does not limit it
#   counters: 100000         # in a process's memory
#   hash_key:                # what keys and addresses of callers are hashed with; one made of redis.url

# tokens:                    # by model_providers[].tokenizer: a tokenizer.json, an encoding of tiktoken's, or rule
#   deadline_ms: 100         # of one call's counting; what is left then is counted by the rule
#   cache: 20000             # texts whose counts are kept
#   load_s: 10               # most that a start waits for tokenizers

# sessions:                  # which model has which conversation
#   store: memory            # redis: workers share them
#   size: 10000              # in memory
#   ttl_s: 3600              # after the latest call
#   tenant_header:           # says whose call it is, e.g. x-team

# prompt_caching:            # of mode: forward
#   inject: false            # true: mark what Anthropic's API is to keep, where callers do not
#   min_prefix_tokens: 1024

# redis:                     # what worker processes share what they know by
#   url:                     # e.g. $REDIS_URL
#   prefix: "plano:"
#   timeout_ms: 250

# postgres:                  # where what is kept outlives them
#   url:                     # e.g. $POSTGRES_URL
#   timeout_ms: 1000
# telemetry:
#   opentelemetry: true      # spans and metrics by its API, where it is installed
#   otlp:                    # of plano-asgi serve: where they go, e.g. http://localhost:4318
#   capture_content: false   # true: spans hold what callers and models say
#   prometheus:              # served by plano-asgi serve where the extra is installed; true: in an app too
#   metrics_path: /metrics

# decision_log:
#   store:                   # memory in plano-asgi serve, none in an app; none, memory, sqlite, redis
#   size: 1000               # entries
#   ttl_s: 604800            # a week
#   path:                    # of sqlite, e.g. decisions.sqlite
#   content: hash            # conversation: keep what callers wrote; plano-asgi replay needs it
#   hash_key:                # of the conversations' hashes; a new one in every process

# admin:
#   token:                   # decision log, reload, playground and metrics beyond loopback need one

# playground:
#   enabled:                 # /routing/playground: in plano-asgi serve, not in an app; true, false

# reload:                    # of plano-asgi serve, beside SIGHUP and POST /routing/v1/reload
#   watch: false             # true: read this file again when it has changed
"""
