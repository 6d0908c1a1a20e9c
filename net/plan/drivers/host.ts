import type { PlanNetwork } from "#net/plan/drivers/driver.ts";

/** The container runs in the host's namespace, where we own nothing for it. */
export const planHostNetwork: PlanNetwork = () => undefined;
