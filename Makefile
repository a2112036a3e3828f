# make demo    a real search on real small language models, on this machine (about 600 MB of models the first time)
# make test    every check that continuous integration runs
# make bench   the framework's own overhead, with nothing else running
# make joint   experiments/joint: one study by four samplers at equal spend (half an hour)
# make race    experiments/reinforce: samplers on synthetic problems, 30 seeds (hours; goes on where it stopped)
# make searchers    experiments/searchers: the race of searchers on recorded outcomes (long; goes on where it stopped)
# make agenttts     experiments/agenttts: AgentTTS and what it was compared with, a script in place of the model (an hour)
# make agent   experiments/agenttts/local: AgentTTS with a small local model as its agent (more than an hour; 1.7 GB of models)
# make clean   forget the demo's run; models and packages stay

PYTHON ?= python3
BIN := .venv/bin
SPEC := experiments/quickstart/task.yaml
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check bench notebook joint race searchers agenttts agent agent-reinforce agent-wiring clean

demo: .venv/demo
	$(BIN)/apportion models pull smollm2-135m-instruct qwen2.5-coder-0.5b-instruct
	$(BIN)/apportion run $(SPEC) --out runs/quickstart

test: .venv/test
	$(BIN)/apportion models pull smollm2-135m-instruct
	$(MAKE) --no-print-directory check

check:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/apportion validate $(SPEC)
	$(BIN)/apportion validate experiments/local-models/task.yaml
	$(BIN)/apportion validate experiments/joint/task.yaml
	$(BIN)/apportion validate experiments/three-stages/task.yaml
	for spec in experiments/agenttts/*/task.yaml; do $(BIN)/apportion validate $$spec || exit; done
	$(BIN)/apportion demo
	$(BIN)/pytest

bench: .venv/test
	$(BIN)/apportion bench worker --json
	$(BIN)/apportion bench end-to-end --json
	$(BIN)/apportion bench graphs --json

notebook: .venv/test
	$(BIN)/apportion models pull smollm2-135m-instruct qwen2.5-coder-0.5b-instruct
	$(BIN)/python experiments/quickstart/make_notebook.py

joint: .venv/test
	$(BIN)/apportion models pull smollm2-135m-instruct qwen2.5-coder-0.5b-instruct
	for sampler in reinforce tpe nsga2 random; do \
	  $(BIN)/apportion run experiments/joint/task.yaml --set search.sampler=$$sampler --out runs/joint/$$sampler || [ $$? = 4 ] || exit; \
	done
	$(BIN)/python experiments/joint/compare.py runs/joint

race: .venv/test
	$(BIN)/python experiments/reinforce/race.py --out experiments/reinforce/results.jsonl
	$(BIN)/python experiments/reinforce/table.py experiments/reinforce/results.jsonl

TASKS := $(sort $(wildcard experiments/searchers/tasks/*.yaml))
searchers: .venv/test
	mkdir -p runs
	$(BIN)/apportion bench searchers $(TASKS) --samplers allocator,allocator+bank,tpe,tpe+bank,random --seeds 100 --out runs/searchers.draws.jsonl --json > runs/searchers.draws.json
	mv runs/searchers.draws.json experiments/searchers/results.json
	$(BIN)/python experiments/searchers/table.py experiments/searchers/results.json
	$(BIN)/apportion bench searchers $(TASKS) --samplers allocator,allocator+bank,tpe,tpe+bank --currency cost --seeds 20 --out runs/searchers.cost.jsonl --json > runs/searchers.cost.json
	mv runs/searchers.cost.json experiments/searchers/results.cost.json
	$(BIN)/apportion bench searchers $(filter-out %mixture.yaml %then-code.yaml,$(TASKS)) --samplers allocator+bank,tpe+bank,successive_halving+bank,ucb_e+bank,racing+bank,elimination+bank,epsilon_greedy+bank --seeds 100 --out runs/searchers.draws.jsonl --json > runs/searchers.others.json
	mv runs/searchers.others.json experiments/searchers/results.others.json

RECORDED := $(addprefix experiments/searchers/tasks/,codet.yaml gym-three.yaml math-then-code.yaml quickstart-chain.yaml)
TABLES := experiments/agenttts/synthetic
AGENTS := agenttts,agenttts-1,agenttts-2,agenttts-3,agenthpo
agenttts: .venv/test
	mkdir -p runs
	$(BIN)/apportion bench searchers $(RECORDED) $(wildcard $(TABLES)/*-1000.yaml) --samplers random,grid,tpe,gp,$(AGENTS),mlcopilot,llm_zero_shot,agenttts-evolution,agenttts-numeric --seeds 30 --out runs/agenttts.jsonl --json > runs/agenttts.json
	mv runs/agenttts.json experiments/agenttts/results.json
	$(BIN)/apportion bench searchers $(wildcard $(TABLES)/*-500.yaml $(TABLES)/*-900.yaml $(TABLES)/*-2000.yaml) --samplers random,tpe,$(AGENTS) --seeds 30 --out runs/agenttts.jsonl --json > runs/agenttts.budgets.json
	mv runs/agenttts.budgets.json experiments/agenttts/results.budgets.json
	$(BIN)/python experiments/agenttts/table.py $(addprefix experiments/agenttts/results,.json .budgets.json)

LOCAL := experiments/agenttts/local
agent: .venv/test
	$(BIN)/apportion models pull smollm2-135m-instruct qwen2.5-coder-0.5b-instruct qwen2.5-coder-1.5b-instruct
	$(BIN)/python $(LOCAL)/race.py --record
	$(BIN)/apportion run $(LOCAL)/task.yaml --out runs/agenttts-local

GRAPHS := experiments/agent_reinforce
agent-reinforce: .venv/test
	$(BIN)/python $(GRAPHS)/race.py --out $(GRAPHS)/results.jsonl
	$(BIN)/python $(GRAPHS)/fronts.py --out $(GRAPHS)/fronts.jsonl
	$(BIN)/python $(GRAPHS)/banked.py --out $(GRAPHS)/banked.jsonl
	for table in race classic banked fronts figure; do $(BIN)/python $(GRAPHS)/table.py $$table || exit; done

agent-wiring: .venv/test
	$(BIN)/apportion models pull qwen2.5-coder-0.5b-instruct qwen2.5-coder-1.5b-instruct
	$(BIN)/python $(GRAPHS)/banked.py --record --searchers "both, by a model" --seeds 3 --most 20 --out $(GRAPHS)/banked.jsonl
	$(BIN)/apportion run $(GRAPHS)/live.yaml --out runs/agent-reinforce
	$(BIN)/python $(GRAPHS)/live.py runs/agent-reinforce

.venv/bin/pip:
	$(PYTHON) -m venv .venv

# What each target installs, pinned; again only when the pins or the package's requirements change.
.venv/demo: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[local]'
	touch $@

.venv/test: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all]'
	touch $@ .venv/demo

clean:
	rm -rf runs/quickstart
