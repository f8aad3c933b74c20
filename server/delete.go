package server

// delete removes a stream (§5.4).
func (h *Handler) delete(a *answer, name string) error {
	if err := h.store.Delete(a.r.Context(), name); err != nil {
		return err
	}
	a.deleted()
	return nil
}
