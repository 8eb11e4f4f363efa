# SPDX-License-Identifier: Apache-2.0
# A warm R: started as `Rscript FILE` with this as the file, in its pod ahead of demand. This is one expression, which
# waits; meanwhile the program is written behind it in the same file, and R reads on there. See worker/runner/mediator.h.
invisible(local({
  status <- file("/proc/self/fd/8", "wb", raw = TRUE)
  writeBin(charToRaw("r"), status)
  close(status)
  from <- file("/proc/self/fd/7", "rb", raw = TRUE)
  job <- raw()
  repeat {
    piece <- readBin(from, "raw", 65536L)
    if (length(piece) == 0L) break
    job <- c(job, piece)
  }
  close(from)
  if (length(job) == 0L) quit("no")
  ends <- which(job == 0)
  begins <- c(1L, ends[-length(ends)] + 1L)
  texts <- mapply(function(a, b) if (b > a) rawToChar(job[a:(b - 1L)]) else "", begins, ends)
  Encoding(texts) <- "UTF-8"
  count <- as.integer(texts[1L])
  args <- texts[seq_len(count) + 1L]
  env <- texts[-seq_len(count + 1L)]
  names <- sub("=.*", "", env)
  values <- substring(env, nchar(names) + 2L)
  old <- names(Sys.getenv())
  Sys.unsetenv(setdiff(old[!grepl("^(R_|LD_LIBRARY_PATH$|EDITOR$|PAGER$|TAR$|SED$|LN_S$|MAKE$)", old)], names))
  do.call(Sys.setenv, stats::setNames(as.list(values), names))
  # R itself does not say where: it reads the file as if it were typed. What is before the error runs, as ever.
  if (file.exists("main.r")) {
    told <- suppressWarnings(tryCatch({ parse("main.r", keep.source = FALSE, encoding = "UTF-8"); "" }, error = conditionMessage))
    if (nzchar(told)) options(error = substitute({
      if (grepl(what, geterrmessage(), fixed = TRUE)) cat(told, "\n", sep = "", file = stderr())
      cat("Execution halted\n", file = stderr())
      quit("no", 1L, FALSE)
    }, list(told = told, what = sub("\n.*", "", sub("^[^:]*:[0-9]+:[0-9]+: ", "", told)))))
  }
  all <- c(sub("^--file=.*", "--file=main.r", commandArgs()), if (count > 0L) "--args", args)
  body <- substitute(function(trailingOnly = FALSE) {
    args <- all
    if (trailingOnly) {
      args <- args[-seq_len(match("--args", args, length(args)))]
    }
    args
  }, list(all = all))
  ours <- eval(body, baseenv())
  unlockBinding("commandArgs", baseenv())
  assign("commandArgs", ours, envir = baseenv())
  lockBinding("commandArgs", baseenv())
}))
