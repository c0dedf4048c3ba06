/** Why an export can not be made, for who asked for it. */
export class ExportFailure extends Error {}
