import type { PlanNetwork } from "#net/plan/drivers/driver.ts";

/** Nothing beside the namespace that every container gets: lo with 127.0.0.1, no IPv6. */
export const planNone: PlanNetwork = () => undefined;
