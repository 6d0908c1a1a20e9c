/** Of the processes of a node; managers and agents of one cluster may differ during an upgrade. */
export const VERSION = "0.1.0";
