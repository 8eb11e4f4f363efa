// SPDX-License-Identifier: Apache-2.0
// A warm Java: started as `java --source 17 FILE` with this as the file, in its pod ahead of demand, with its compiler loaded and
// used. It waits for its job, compiles the program, and hands it to enter.c, which runs it as java does. The class path is
// that of the libraries; the program's own classes come from .classes and the working directory, as for a cold one. See
// worker/runner/mediator.h; the first two args are the source file and the class with main().

import java.io.BufferedInputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TimeZone;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.StandardLocation;
import javax.tools.ToolProvider;

public class Warm {
    static final String LIBRARY = "/proc/self/fd/6", JOB = "/proc/self/fd/7", STATUS = "/proc/self/fd/8";
    static final Path WORK = Path.of("").toAbsolutePath();

    /* Uses what programs use, so that javac and the parts of the runtime that it needs are loaded and partly compiled. */
    static final String SAMPLE = """
        import java.util.*;
        import java.util.function.*;
        import java.util.stream.*;
        public class WarmSample {
            record Point(int x, String name) implements Comparable<Point> {
                public int compareTo(Point other) { return Integer.compare(x, other.x); }
            }
            enum Kind { ONE, TWO }
            interface Shape { default double area() { return 0; } }
            static abstract class Base<T extends Comparable<T>> implements Shape {
                protected final List<T> items = new ArrayList<>();
                abstract T most() throws Exception;
            }
            static int digits(Object o) {
                return switch (o instanceof String s ? Kind.ONE : Kind.TWO) { case ONE -> 1; case TWO -> { int n = 0; yield n + 2; } };
            }
            public static String text(String[] args) {
                Base<Point> base = new Base<>() { Point most() { return Collections.max(items); } };
                for (int i = 0; i < 3; i++) base.items.add(new Point(i, "p" + i + (i % 2 == 0 ? 'e' : 'o')));
                Map<String, Integer> count = new TreeMap<>();
                for (var p : base.items) count.merge(p.name(), p.x(), Integer::sum);
                StringBuilder out = new StringBuilder();
                try {
                    out.append(base.most()).append(String.format("%d %.2f %s", digits(""), 1.5, Kind.valueOf("ONE")));
                    if (args.length > 99) throw new IllegalStateException(args[0]);
                } catch (Exception e) {
                    out.append(e.getMessage());
                }
                Function<Integer, Integer> twice = x -> 2 * x;
                out.append(IntStream.range(0, 5).mapToObj(i -> "" + twice.apply(i)).collect(Collectors.joining(",")));
                long[] squares = new long[4];
                for (int i = 0; i < squares.length; i++) squares[i] = (long) i * i;
                return out.append(count).append(Arrays.toString(squares)).toString();
            }
        }
        """;

    /* enter.c. Each text of the environment ends with NUL. */
    static native void environment(byte[] texts);

    /* Runs the program in a thread that is as java's first; ours ends, and the process when all of the program's have. */
    static native void enter(Class<?> program, String[] args);

    static ClassLoader loader;

    /* What enter.c calls first in the program's thread. */
    static void begin() {
        Thread.currentThread().setContextClassLoader(loader);
    }

    final JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    final StandardJavaFileManager files = compiler.getStandardFileManager(null, null, StandardCharsets.UTF_8);
    final String libraries = System.getProperty("java.class.path");

    void lookIn(Path folder) throws IOException {
        List<Path> path = new ArrayList<>(List.of(folder));
        for (String jar : libraries.split(":")) path.add(Path.of(jar));
        files.setLocationFromPaths(StandardLocation.CLASS_PATH, path);
        files.setLocationFromPaths(StandardLocation.CLASS_OUTPUT, List.of(Files.createDirectories(folder.resolve(".classes"))));
    }

    boolean compile(String source, StringWriter told) {
        var units = files.getJavaFileObjects(Path.of(source));
        return compiler.getTask(new PrintWriter(told), files, null, List.of(), null, units).call();
    }

    void warmUp() throws Exception {
        Path folder = Files.createTempDirectory("warm"), source = folder.resolve("WarmSample.java"), classes = folder.resolve(".classes");
        Files.writeString(source, SAMPLE);
        lookIn(folder);
        var told = new StringWriter();
        if (!compile(source.toString(), told)) throw new IllegalStateException(told.toString());
        try (var loader = new URLClassLoader(new URL[] {classes.toUri().toURL()})) {
            loader.loadClass("WarmSample").getMethod("text", String[].class).invoke(null, (Object) new String[0]);
        }
        try (var all = Files.walk(folder)) {
            for (Path path : all.sorted((a, b) -> b.compareTo(a)).toList()) Files.delete(path);
        }
        System.gc();
    }

    static void say(char status) throws IOException {
        try (var out = new FileOutputStream(STATUS)) {
            out.write(status);
        }
    }

    /* The fields of the job, which are as many as `count` says; what is behind them is the environment. */
    static List<String> take(byte[] job) {
        List<String> texts = new ArrayList<>();
        int at = 0;
        for (int left = 1; left > 0; left--) {
            int end = at;
            while (job[end] != 0) end++;
            texts.add(new String(job, at, end - at, StandardCharsets.UTF_8));
            at = end + 1;
            if (texts.size() == 1) left += Integer.parseInt(texts.get(0));
        }
        environment(Arrays.copyOfRange(job, at, job.length));
        return texts.subList(1, texts.size());
    }

    /* As java's own launcher, which has the words for what is wrong with a main(), and ends the process then. */
    static Class<?> mainClass(String name) throws Exception {
        Class<?> helper = Class.forName("sun.launcher.LauncherHelper");
        Class<?> program;
        try {
            program = Class.forName(name, false, loader);
        } catch (ClassNotFoundException | NoClassDefFoundError e) {
            System.err.println("Error: Could not find or load main class " + name + "\nCaused by: " + e);
            System.exit(1);
            return null;
        }
        var validate = helper.getDeclaredMethod("validateMainClass", Class.class);
        validate.setAccessible(true);
        try {
            validate.invoke(null, program);
        } catch (InvocationTargetException e) {
            System.err.println("Error: Unable to initialize main class " + name + "\nCaused by: " + e.getCause());
            System.exit(1);
        }
        return program;
    }

    void run(List<String> texts) throws Exception {
        var told = new StringWriter();
        String source = texts.get(0), name = texts.get(1);
        lookIn(WORK);
        if (!compile(source, told)) {
            say('C'); // what is written before may fill a pipe that nobody reads yet
            System.err.print(told);
            System.exit(1);
        }
        System.setProperty("java.class.path", ".classes:" + WORK + ":" + libraries);
        System.setProperty("sun.java.command", String.join(" ", texts.subList(1, texts.size())));
        System.clearProperty("user.timezone");
        TimeZone.setDefault(null); // TZ may be another now
        loader = new URLClassLoader(new URL[] {WORK.resolve(".classes").toUri().toURL(), WORK.toUri().toURL()});
        say('R');
        System.err.print(told);
        enter(mainClass(name), texts.subList(2, texts.size()).toArray(String[]::new));
    }

    public static void main(String[] none) throws Exception {
        System.load(LIBRARY);
        var warm = new Warm();
        warm.warmUp();
        say('r');
        byte[] job;
        try (var in = new BufferedInputStream(new FileInputStream(JOB))) {
            job = in.readAllBytes();
        }
        if (job.length > 0) warm.run(take(job));
    }
}
