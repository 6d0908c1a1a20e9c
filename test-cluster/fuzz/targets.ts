import type { Target } from "#test-cluster/fuzz/target.ts";
import { fileTargets } from "#test-cluster/fuzz/targets-files.ts";
import { raftTargets } from "#test-cluster/fuzz/targets-raft.ts";
import { rpcTargets } from "#test-cluster/fuzz/targets-rpc.ts";
import { stateTargets } from "#test-cluster/fuzz/targets-state.ts";

export const targets: readonly Target[] = [...raftTargets, ...stateTargets, ...fileTargets, ...rpcTargets];
