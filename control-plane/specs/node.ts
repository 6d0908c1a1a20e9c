import { refuseAll } from "#base/errors.ts";
import { NodeAvailability, NodeRole, NodeSpec } from "#proto/gen/types.ts";
import { Issues } from "./issues.ts";
import { checkLabels, checkName } from "./names.ts";

/** The spec as it is stored. Throws TswarmError `invalid` with every issue. */
export const checkNodeSpec = (given: NodeSpec | undefined): NodeSpec => {
  const spec = given ?? NodeSpec.fromPartial({});
  const issues = new Issues();
  if ((spec.annotations?.name ?? "") !== "") checkName(issues, spec.annotations, "object");
  else checkLabels(issues, "annotations.labels", spec.annotations?.labels ?? {});
  const roles: number[] = [NodeRole.WORKER, NodeRole.MANAGER];
  issues.check(roles.includes(spec.role), "role", "it is neither worker nor manager", "Choose worker or manager");
  const availabilities: number[] = [NodeAvailability.ACTIVE, NodeAvailability.PAUSE, NodeAvailability.DRAIN];
  issues.check(
    availabilities.includes(spec.availability),
    "availability",
    "it is unknown",
    "Choose active, pause or drain",
  );
  refuseAll("The node", issues.list);
  return { ...spec, annotations: spec.annotations ?? { name: "", labels: {} } };
};
