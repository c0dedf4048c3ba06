export const name = 'applications';
export const sql = `
`;
