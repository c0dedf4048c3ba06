export const name = 'jobs';
export const sql = `
`;
