"""What stands below the flags of a command in its --help, at most 80 columns wide."""

from __future__ import annotations

DESCRIPTION = "GitOps for container images: commit a Nickel directive, the registry converges."
EPILOG = """\
exit codes:
  0  done or in sync             3    some artifacts failed, the rest is done
  1  an error in use or          4    something is held
     environment, or some        130  interrupted
     directives are invalid
  2  drift found

Flags of the desired repo have environment variables behind them: LIAN_REPO,
LIAN_REV, LIAN_REGISTRY, LIAN_JOBS, LIAN_CACHE. BUILDKIT_SSH_KEY stands for
--ssh-key; lian build has others too. One that is empty counts as not set; a
flag with an empty value is refused. NO_COLOR is honoured.
The registry's login is that of docker, or LIAN_REGISTRY_USER with
LIAN_REGISTRY_PASSWORD; LIAN_CREDENTIAL_HOSTS limits which registries and git
servers get logins on a commit's word, and with --registry none does.
Secrets of builds lie where lian.ncl says; reconcile, watch and build read them.
Start with: lian doctor
"""

_RUNS = "lian.ncl may name commands, which are run here: read it in a stranger's clone.\n"
"""Of verbs that only look, where nobody expects it: logins and keys may come from commands (docs/authentication.md)."""

VALIDATE_EPILOG = f"""\
Exit codes: 0 all is valid, 1 something is not, 4 all is, and something is held.
{_RUNS}"""

WHY_EPILOG = _RUNS

DIFF_EPILOG = f"""\
Changes nothing, needs no BuildKit and no more than pull. Exit codes: 0 in sync,
2 drift, 4 something is held, 1 some directives are invalid.
{_RUNS}With --base nothing is checked out: the two revisions are merged beside the
repository, settings and all that they name are those of the base, and what
differs between the two is told, with what stands on it. What is held until the
merge alone (registry-proposed, git-proposed) counts as drift:
  lian diff --base refs/remotes/origin/main --head HEAD --format markdown
"""

LOCK_EPILOG = f"""\
What is used is read from the commit (HEAD, or --rev); lian.lock is read and
written in the working tree: commit it. Entries stay where they are, what is
used and lacks one gets one, what nothing uses goes. Where anything that has to
be asked for cannot be found out, nothing is written, and the exit code is 4.
A NAME is an image (alpine, alpine:3.20, ghcr.io/team/*), a URL, or a git
repository's URL, with #REV behind it for one branch or tag.
{_RUNS}"""

INIT_EPILOG = """\
Read is docker-bake.hcl (by buildx), else docker-bake.json, else the compose
file, else each Dockerfile that git does not ignore, and what cannot be carried
over is told field by field. With none of these a small example is written.
Variables take the values of .env (compose) and their defaults; the environment
has no part in it. No file that is there is changed, nothing is committed, and
nothing at all is written if the input is wrong. 3 if an image is left out.
  lian init --dry-run
  lian init --from docker/compose.prod.yaml --workspace shop
"""

SCHEMA_EPILOG = """\
Contracts go by their names or by what they are about: directives, artifact,
fleet, policy (of the fleet), rules (below policy/), registry, compute, runner,
cache, events, spec.
  lian schema artifact context
  lian schema fleet policy prune
  NICKEL_IMPORT_PATH=$(lian schema --path) code .
"""

PRUNE_EPILOG = """\
Kept is what HEAD (or --rev) asks for, and every ref that matches
policy.prune.revisions in lian.ncl, with its keep rules; what is not certain
holds. Without a terminal and without --yes the plan is shown, nothing is
removed, and the exit code is 1; a no to the question is 4.
Digests that run in a cluster are kept with
  lian prune --keep-from 'cmd:kubectl get pods -A -o json'
"""

CACHE_PRUNE_EPILOG = """\
Without limits only CI's caches go, of artifacts and platforms that neither
HEAD (or --rev) nor a ref that matches policy.prune.revisions wants any more.
Sessions' caches go by age and size alone. What was written within the last
hour stays, and so do other fleets' caches and what is not certain.
Without a terminal and without --yes the plan is shown, nothing is removed,
and the exit code is 1; a no to the question is 4. In CI:
  lian cache prune --yes --older-than 30d --max-size 20GB
"""

POLICY_EPILOG = """\
Without --check the policy is printed, sorted, one item a line: keep it under
version control, and deploy what is printed. What is given:
  zot                 http.accessControl of its config
  harbor              bodies of POST /projects and POST /robots, without secrets
  distribution-token  the acl of docker_auth
With --check FILE, what is deployed is read from FILE (JSON; - is stdin), and
each difference is told: `opens` is more than the rule gives, `lacks` is less,
`unknown` could not be told. Accounts are those of policy.access in lian.ncl.
"""

BUILD_EPILOG = """\
Needed are --workspace, --context and --image; or --directives, and nothing of
what the other flags say counts then, but --ssh-key. The context is read from
the commit (HEAD, or --rev) of the repository that it lies in, never from its
working tree; a folder in no repository is built as it is. lian.ncl of that
commit holds, and may name commands that are run here: read it before you build
a stranger's clone. That of a folder in no repository has no effect. What is
there already is not built again.
On stdout comes one BuildResult for each artifact, as a line of JSON.
Variables behind the flags: BUILDKIT_WORKSPACE, BUILDKIT_SSH_KEY,
BUILDKIT_RUNNER_IMAGE, ORCHESTRATOR_URL, NATS_URL, NATS_NKEY_SEED,
NATS_SUBJECT_PREFIX; LIAN_REV, LIAN_REGISTRY, LIAN_CACHE as everywhere.
  lian build --workspace shop --context images/api \\
    --image registry.example/shop/api:1.4
"""

SIZING_EPILOG = """\
The first of these that says something decides, for cpu, memory and minutes
each: `runner` in the directive, .build-spec.ncl in the context's folder,
what earlier runs used (P95, of fewer than ten the maximum; a fifth more; at
least 2 cpu and 4 GiB), the language.
"""

SUGGEST_EPILOG = """\
The patch writes .build-spec.ncl files; sizes rebuild nothing. To apply it:
  lian sizing suggest | git apply
What a patch cannot say is told beside it, on stderr.
"""
