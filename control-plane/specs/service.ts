import { refuseAll } from "#base/errors.ts";
import { parseConstraint } from "#control-plane/specs/constraint.ts";
import {
  ContainerSpec,
  EndpointMode,
  FailureAction,
  type Resources,
  RestartCondition,
  RestartPolicy,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
  UpdateOrder,
} from "#proto/gen/types.ts";
import { attachmentDefaults, checkAttachments } from "./attachments.ts";
import { checkContainer } from "./container.ts";
import { Issues } from "./issues.ts";
import { checkName } from "./names.ts";
import { checkPorts, portDefaults } from "./ports.ts";
import { checkResolver } from "./resolver.ts";

/** Docker's: swarmkit api/defaults/service.go. */
const STOP_GRACE_MS = 10_000;
const RESTART_DELAY_MS = 5_000;
const MONITOR_MS = 5_000;
const MAX_DRAIN_MS = 24 * 3600 * 1000;
const MAX_REPLICAS = 10_000;
const MIN_MEMORY = 6 * 1024 * 1024;
const SPREAD =
  /^(?:spread=)?(?:node\.(?:id|hostname|role|platform\.(?:os|arch)|labels\.[^\s=]+)|engine\.labels\.[^\s=]+)$/;

const updateDefaults = (given: UpdateConfig | undefined): UpdateConfig => {
  const config = given ?? UpdateConfig.fromPartial({ parallelism: 1 });
  return {
    ...config,
    monitorMs: config.monitorMs || MONITOR_MS,
    order: config.order || UpdateOrder.STOP_FIRST,
    failureAction: config.failureAction || FailureAction.FAILURE_PAUSE,
  };
};

const restartDefaults = (given: RestartPolicy | undefined): RestartPolicy => {
  const policy = given ?? RestartPolicy.fromPartial({ delayMs: RESTART_DELAY_MS });
  return { ...policy, condition: policy.condition || RestartCondition.RESTART_ANY };
};

const withDefaults = (spec: ServiceSpec): ServiceSpec => {
  const task = spec.task ?? TaskSpec.fromPartial({});
  const container = task.container ?? ContainerSpec.fromPartial({});
  return {
    ...spec,
    endpointMode: spec.endpointMode || EndpointMode.VIP,
    update: updateDefaults(spec.update),
    rollback: updateDefaults(spec.rollback),
    ports: spec.ports.map(portDefaults),
    task: {
      ...task,
      networks: task.networks.map(attachmentDefaults),
      restart: restartDefaults(task.restart),
      container: { ...container, stopGraceMs: container.stopGraceMs || STOP_GRACE_MS },
    },
  };
};

const checkResources = (issues: Issues, limits: Resources | undefined, reservations: Resources | undefined): void => {
  for (const field of ["nanoCpus", "memoryBytes"] as const) {
    const limit = limits?.[field] ?? 0;
    const reservation = reservations?.[field] ?? 0;
    issues.check(
      limit === 0 || reservation <= limit,
      `task.reservations.${field}`,
      `${reservation} is more than the limit ${limit}`,
      "Reserve at most the limit",
    );
  }
  const memory = limits?.memoryBytes ?? 0;
  issues.check(
    memory === 0 || memory >= MIN_MEMORY,
    "task.limits.memoryBytes",
    `${memory} bytes are too few for a container`,
    "Use at least 6 MiB",
  );
  issues.check(
    (reservations?.pids ?? 0) === 0,
    "task.reservations.pids",
    "processes can be limited, not reserved",
    "Use the limit",
  );
};

const checkUpdate = (issues: Issues, field: string, config: UpdateConfig): void => {
  const ratio = config.maxFailureRatio;
  issues.check(
    ratio >= 0 && ratio <= 1,
    `${field}.maxFailureRatio`,
    `${ratio} is no ratio`,
    "Use a number from 0 to 1",
  );
  if (field === "rollback")
    issues.check(
      config.failureAction !== FailureAction.FAILURE_ROLLBACK,
      "rollback.failureAction",
      "a rollback can't be rolled back",
      "Choose pause or continue",
    );
};

const checkTask = (issues: Issues, task: TaskSpec): void => {
  checkContainer(issues, task.container!);
  checkResolver(issues, task.container!);
  checkResources(issues, task.limits, task.reservations);
  for (const [i, text] of (task.placement?.constraints ?? []).entries())
    issues.check(
      parseConstraint(text) !== undefined,
      `task.placement.constraints[${i}]`,
      `${JSON.stringify(text)} is no constraint`,
      "Write KEY==VALUE or KEY!=VALUE with node.id, node.hostname, node.role, node.platform.os, node.platform.arch, node.labels.X or engine.labels.X",
    );
  for (const [i, text] of (task.placement?.spread ?? []).entries())
    issues.check(
      SPREAD.test(text),
      `task.placement.spread[${i}]`,
      `${JSON.stringify(text)} is nothing to spread over`,
      "Use a label, as in node.labels.dc",
    );
  issues.check((task.drainMs ?? 0) <= MAX_DRAIN_MS, "task.drainMs", "it is longer than a day", "Use a shorter time");
};

/** The spec with Docker's defaults. Throws TswarmError `invalid` with every issue of `what`. */
export const checkServiceSpec = (given: ServiceSpec | undefined, what = "The service"): ServiceSpec => {
  const spec = withDefaults(given ?? ServiceSpec.fromPartial({}));
  const issues = new Issues();
  checkName(issues, spec.annotations, "service");
  issues.check(
    spec.replicas <= MAX_REPLICAS,
    "replicas",
    `${spec.replicas} are too many`,
    `Use at most ${MAX_REPLICAS}`,
  );
  checkUpdate(issues, "update", spec.update!);
  checkUpdate(issues, "rollback", spec.rollback!);
  checkTask(issues, spec.task!);
  checkAttachments(issues, spec);
  checkPorts(issues, spec);
  refuseAll(what, issues.list);
  return spec;
};
